"""What strangers wrote into headers does nothing to an admin's terminal."""

from dataclasses import replace

import pytest

from scarnode.ledger.ledger import Ledger
from tests.dicom.scp.builders import instance
from tests.ledger.builders import STUDY, plan, received, verdict

ATTACKS = [
    "\x1b[2J\x1b]0;owned\x07",  # clear the screen, set the title
    "\x9b31m",  # the same by a C1 control
    "[red]LGE[/blue]",  # rich's own markup, unbalanced: an exception
    "LGE\u202egnp.exe",  # turns the direction of what follows
    "a\r\nb\x00c",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_tables_show_it_as_text(attack, scarnode, tmp_path):
    config = tmp_path / "config.ini"
    config.write_text("[ledger]\nurl = sqlite:///l.sqlite\n[spool]\npath = spool\n")
    ledger = Ledger(f"sqlite:///{tmp_path / 'l.sqlite'}", "test")
    ledger.studies.add_instances([replace(received(n), patient_id=attack, patient_name=attack) for n in range(1, 5)])
    hostile = replace(verdict(), description=attack, detail=attack)
    ledger.studies.close_study(1, 4, [hostile], [plan("a", range(1, 4))], {f"00/{STUDY}.2.dcm": attack})
    ledger.jobs.fail(ledger.jobs.claim("h:0", 60), attack, 3, permanent=True)
    ledger.close()
    (tmp_path / "spool" / "00").mkdir(parents=True)
    instance(PatientID=attack, PatientName=attack).save_as(
        tmp_path / "spool" / "00" / f"{STUDY}.1.dcm", enforce_file_format=True
    )
    for words in (
        ("jobs", "list"),
        ("jobs", "show", 1),
        ("series", "list"),
        ("series", "show", f"{STUDY}.0"),
        ("series", "files", STUDY),
    ):
        shown = scarnode(*words, "-c", config).stdout
        assert all(c.isprintable() or c == "\n" for c in shown), words
        if attack.startswith("[red]") and words[1] != "files":
            assert "[red]" in shown


def test_errors_show_it_as_text(scarnode, tmp_path):
    said = scarnode("segment", tmp_path / "\x1b[2Jabsent", "-o", tmp_path / "out", code=2).stderr
    assert "absent" in said
    assert "\x1b[2J" not in said
