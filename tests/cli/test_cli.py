"""The commands, as an admin types them."""

import csv
import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from scarnode import RESEARCH_USE, __version__
from scarnode.dicom.scp import describe
from scarnode.ledger import queries
from scarnode.ledger.ledger import Ledger
from scarnode.ledger.model import PlannedJob
from scarnode.phantom import PhantomSettings, make_phantom
from scarnode.phantom.dicom import write_dicom
from scarnode.pipeline.stack import SeriesVerdict, Verdict, find_stacks
from scarnode.pipeline.stack.headers import read_frames
from tests.dicom.scp.builders import instance
from tests.harness import free_port
from tests.harness.mail import mail_server
from tests.ledger.builders import STUDY, TO_PACS, analysed, plan, received, verdict


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A node's folder with one delivered, one held and one failed job."""
    folder = tmp_path_factory.mktemp("admin")
    file = folder / "config.ini"
    file.write_text(
        "[ledger]\nurl = sqlite:///l.sqlite\n[destination:pacs]\nhost = localhost\nport = 104\nae_title = P\n"
    )
    ledger = Ledger(f"sqlite:///{folder / 'l.sqlite'}", "test")
    ledger.studies.add_instances([received(number) for number in range(1, 10)])
    plans = [plan("a", range(1, 4)), plan("b", range(4, 7)), plan("c", range(7, 10))]
    ledger.studies.close_study(
        1, 9, [verdict(), verdict(f"{STUDY}.5", accepted=False)], plans, {f"00/{STUDY}.2.dcm": "cut short"}
    )
    ledger.jobs.finish(ledger.jobs.claim("h:0", 60), analysed("a"), {})
    ledger.jobs.finish(ledger.jobs.claim("h:0", 60), analysed("b", ("FEW_SLICES",)), TO_PACS, ("FEW_SLICES",))
    ledger.jobs.fail(ledger.jobs.claim("h:0", 60), "pixel data can not be decoded", 3, permanent=True)
    ledger.close()
    return file


def test_version_and_help_stand_alone(scarnode):
    assert scarnode("--version").stdout == f"scarnode {__version__}\n"
    assert RESEARCH_USE in " ".join(scarnode("--help").stdout.replace("│", " ").split())


def test_jobs_list_shows_and_filters(scarnode, config):
    text = scarnode("jobs", "list", "-c", config).stdout
    assert all(state in text for state in ("done", "held", "failed"))
    rows = json.loads(scarnode("jobs", "list", "-c", config, "--state", "held", "--json").stdout)
    assert [row["flags"] for row in rows] == ["FEW_SLICES"]
    assert json.loads(scarnode("jobs", "list", "-c", config, "--accession", "none", "--json").stdout) == []


def test_jobs_show_tells_the_story(scarnode, config):
    text = scarnode("jobs", "show", 3, "-c", config).stdout
    assert "pixel data can not be decoded" in text
    assert "first image received from SCANNER" in text
    assert RESEARCH_USE in text
    whole = json.loads(scarnode("jobs", "show", 1, "-c", config, "--json").stdout)
    assert whole["job"]["lge_percent"] == 10.7
    assert whole["events"][-1]["to_state"] == "done"


def test_jobs_retry_cancel_and_what_can_not_be(scarnode, config):
    assert "job 3 is queued" in scarnode("jobs", "retry", 3, "-c", config).stdout
    assert "superseded" in scarnode("jobs", "cancel", 3, "-c", config).stdout
    assert "job 3" in scarnode("jobs", "retry", 3, "-c", config, code=2).stderr
    assert "no such job" in scarnode("jobs", "show", 99, "-c", config, code=2).stderr


def test_jobs_export(scarnode, config, tmp_path):
    scarnode("jobs", "export", "-c", config, "-o", tmp_path / "jobs.csv")
    rows = list(csv.DictReader((tmp_path / "jobs.csv").open()))
    assert {row["patient_id"] for row in rows} == {"SYN-1"}
    assert len(rows) == 3


def test_series_say_why_there_is_no_result(scarnode, config):
    text = scarnode("series", "list", "-c", config).stdout
    assert "CINE" in text
    assert "cut short" in text
    assert "because" in scarnode("series", "show", f"{STUDY}.5", "-c", config).stdout
    assert "no such series" in scarnode("series", "show", "9.9", "-c", config, code=2).stderr


def test_config_check(scarnode, config, tmp_path):
    told = scarnode("config", "check", "-c", config).stdout
    assert "good" in told
    assert "nobody is notified of alarms" in told
    (tmp_path / "bad.ini").write_text("[node]\nport = many\n")
    assert "[node] port = 'many'" in scarnode("config", "check", "-c", tmp_path / "bad.ini", code=2).stderr


def test_config_check_asks_the_destinations(scarnode, tmp_path):
    closed = free_port()
    (tmp_path / "c.ini").write_text(
        f"[destination:one]\nhost = 127.0.0.1\nport = {closed}\nae_title = PACS\n"
        f"[destination:two]\nurl = http://127.0.0.1:{closed}/dicom-web\nuser = me\npassword = s3cret\n"
    )
    text = scarnode("config", "check", "-c", tmp_path / "c.ini").stdout
    assert f"destination two: http://127.0.0.1:{closed}/dicom-web takes seg, sr, sc" in text
    text = scarnode("config", "check", "--echo", "-c", tmp_path / "c.ini", code=1).stdout
    assert text.count("NOT GOOD. No connection") == 2
    assert "s3cret" not in text


def test_db_upgrade_makes_a_ledger(scarnode, tmp_path):
    (tmp_path / "c.ini").write_text("[ledger]\nurl = sqlite:///new.sqlite\n")
    scarnode("db", "upgrade", "-c", tmp_path / "c.ini")
    assert (tmp_path / "new.sqlite").stat().st_size > 0


@pytest.fixture(scope="module")
def lge(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lge")
    write_dicom(make_phantom(3, PhantomSettings(matrix=(160, 160), slices=6, component="magnitude")), folder)
    return folder


@pytest.mark.slow
def test_segment_gives_the_same_objects_without_a_network(scarnode, lge, tmp_path):
    outcome = json.loads(scarnode("segment", lge, "-o", tmp_path, "--json").stdout)
    [stack] = outcome["stacks"]
    assert stack["slices"] == 6
    assert stack["lge_percent"] == pytest.approx(100 * stack["scar_volume_cm3"] / stack["myocardium_volume_cm3"])
    assert all(Path(stack[kind]).stat().st_size > 1000 for kind in ("seg", "sr", "sc", "png"))
    assert RESEARCH_USE in outcome["notice"]
    table = scarnode("segment", lge, "-o", tmp_path / "again").stdout
    assert f"{stack['scar_volume_cm3']:.1f}" in table
    assert RESEARCH_USE in table


def test_segment_knows_the_kinds_of_object(scarnode, lge, tmp_path):
    error = scarnode("segment", lge, "-o", tmp_path, "--objects", "seg, gif", code=2).stderr
    assert "gif" in error
    assert "probability" in error


def test_segment_tells_what_it_rejects(scarnode, tmp_path):
    from tests.dicom.scp.builders import instance, write

    write(tmp_path / "in", instance(SeriesDescription="cine sax"))
    outcome = json.loads(scarnode("segment", tmp_path / "in", "-o", tmp_path, "--json", code=3).stdout)
    assert outcome["stacks"] == []
    assert outcome["rejected"][0]["reason"]


def test_segment_refuses_what_is_no_dicom(scarnode, tmp_path):
    (tmp_path / "note.txt").write_text("no DICOM")
    assert "not" in scarnode("segment", tmp_path / "note.txt", "-o", tmp_path, code=2).stderr
    assert "no such file" in scarnode("segment", tmp_path / "absent", "-o", tmp_path, code=2).stderr


def test_phantom_writes_patients(scarnode, tmp_path):
    scarnode("phantom", "-o", tmp_path, "-n", 1, "--seed", 4, "--vendor", "ge")
    assert len(list(tmp_path.rglob("*.dcm"))) > 5


def test_a_test_message_says_what_went_wrong(scarnode, tmp_path):
    config = tmp_path / "config.ini"
    config.write_text("[spool]\npath = spool\n")
    assert "nobody is notified" in scarnode("alarms", "--test", "-c", config, code=1).stdout
    mail = "mail_server = smtp://127.0.0.1:{}\nmail_from = a@example.org\nmail_to = b@example.org\n"
    with mail_server() as box:
        config.write_text("[notify]\n" + mail.format(box.port))
        assert scarnode("alarms", "--test", "-c", config).stdout == "mail: sent.\n"
        assert "test message" in box.mails[0]["Subject"]
        config.write_text(f"[notify]\n{mail.format(box.port)}webhook_url = http://127.0.0.1:1/\n")
        told = scarnode("alarms", "--test", "-c", config, code=1).stdout
    assert "mail: sent." in told
    assert "webhook: NOT SENT. webhook: no connection: refused" in told


def test_jobs_are_found_by_what_an_admin_knows(scarnode, config):
    def jobs(*options: str) -> list[int]:
        return sorted(
            row["job"] for row in json.loads(scarnode("jobs", "list", "-c", config, "--json", *options).stdout)
        )

    everything = [1, 2, 3]
    assert jobs("--patient", "SYN-1", "--accession", "A1", "--study", STUDY, "--calling-ae", "SCANNER") == everything
    assert (
        jobs("--date", "20260102") == jobs("--date", "2026-01-01-20260103") == jobs("--date", "20260102-") == everything
    )
    assert jobs("--date", "-20260101") == jobs("--calling-ae", "OTHER") == jobs("--since", "2d") == []
    assert jobs("--until", "1971-01-01") == jobs("--since", "1970-01-01", "--until", "1970-01-02") == everything
    assert jobs("--limit", "2") == [2, 3]
    for option, value in (("--date", "20260230"), ("--date", "-"), ("--since", "soon"), ("--state", "finished")):
        error = scarnode("jobs", "list", "-c", config, option, value, code=2).stderr
        assert option in error
        assert value in error


def test_a_terminal_of_80_columns_is_enough(scarnode, config, monkeypatch):
    from scarnode.cli import common

    monkeypatch.setattr(common.out, "_force_terminal", True)
    for words in (("jobs", "list"), ("jobs", "show", 2), ("series", "list"), ("series", "show", f"{STUDY}.5")):
        shown = scarnode(*words, "-c", config, width=80).stdout
        assert max(map(len, re.sub(r"\x1b\[[\d;]*m", "", shown).splitlines())) <= 80, words
        assert "SYN-1" in shown
        assert words[0] != "series" or f"{STUDY}.5" in shown


def test_in_a_pipe_a_row_is_a_line_and_nothing_is_cut(scarnode, config):
    header, *lines = scarnode("jobs", "list", "-c", config).stdout.splitlines()
    assert header.split()[:3] == ["Job", "State", "Patient"]
    assert [line.split()[0] for line in lines] == ["3", "2", "1"]
    assert "…" not in "".join(lines)
    assert json.loads(scarnode("series", "show", "--reason", "CINE", "-c", config, "--json").stdout)[0]["meaning"]


def test_several_jobs_are_moved_and_one_that_can_not_be_stops_none(scarnode, tmp_path):
    file = tmp_path / "config.ini"
    file.write_text("[ledger]\nurl = sqlite:///l.sqlite\n")
    ledger = Ledger(f"sqlite:///{tmp_path / 'l.sqlite'}", "test")
    ledger.studies.add_instances([received(number) for number in range(1, 7)])
    ledger.studies.close_study(1, 6, [verdict()], [plan("a", range(1, 4)), plan("b", range(4, 7))])
    ledger.close()
    done = scarnode("jobs", "cancel", 1, 9, 2, "--json", "-c", file, code=2)
    assert json.loads(done.stdout) == [{"job": 1, "state": "superseded"}, {"job": 2, "state": "superseded"}]
    assert "job 9: there is no such job" in done.stderr


def test_an_export_holds_what_was_asked_for_and_is_private(scarnode, config, tmp_path):
    file = tmp_path / "held.csv"
    file.touch(0o644)
    scarnode("jobs", "export", "-c", config, "-o", file, "--state", "held")
    assert [row["state"] for row in csv.DictReader(file.open())] == ["held"]
    assert file.stat().st_mode & 0o777 == 0o600
    error = scarnode("jobs", "export", "-c", config, "-o", tmp_path / "absent" / "x.csv", code=2).stderr
    assert "can not be written (No such file or directory)" in error


def audited(spool: Path) -> list[tuple[str, str]]:
    """Give event and outcome of the audit messages that wait."""
    texts = [path.read_text(errors="replace") for path in sorted((spool / "audit").glob("*.msg"))]
    pattern = r'EventOutcomeIndicator="(\d)"><EventID csd-code="(\d+)"'
    return [(found[2], found[1]) for text in texts if (found := re.search(pattern, text))]


def test_images_of_another_patient_are_taken_out(scarnode, tmp_path):
    """Nothing is lost on the way, and the study is searched again as what is left of it."""
    file = tmp_path / "config.ini"
    audit = f"[audit]\nurl = syslog-tls://127.0.0.1:{free_port()}\n"  # nobody is there: the messages wait
    file.write_text(f"[ledger]\nurl = sqlite:///l.sqlite\n[spool]\npath = spool\n{audit}")
    (tmp_path / "spool" / "00").mkdir(parents=True)
    came = []
    for number, patient in ((1, "SYN-9"), (2, "SYN-1"), (3, "SYN-1")):
        path = tmp_path / "spool" / "00" / f"{STUDY}.{number}.{number:064x}.dcm"
        instance(number, STUDY, PatientID=patient).save_as(path, enforce_file_format=True)
        came.append(describe(tmp_path / "spool", path))
    ledger = Ledger(f"sqlite:///{tmp_path / 'l.sqlite'}", "test")
    ledger.studies.add_instances(came)
    words = ("series", "take-out", STUDY, "--patient", "SYN-9", "-o", tmp_path / "other", "-c", file)
    assert "still arriving" in scarnode(*words, code=2).stderr
    assert audited(tmp_path / "spool") == [("110106", "0"), ("110106", "8")]  # and nothing of a deletion
    ledger.studies.close_study(1, 3, [verdict()], [])
    assert ledger.studies.quiet_studies(0) == []
    whole = (tmp_path / "spool" / came[0].path).read_bytes()
    (tmp_path / "spool" / "audit" / "partial").rmdir()
    (tmp_path / "spool" / "audit" / "partial").touch()
    assert "no audit message can be kept" in scarnode(*words, code=2).stderr
    assert (tmp_path / "spool" / came[0].path).exists()
    (tmp_path / "spool" / "audit" / "partial").unlink()
    assert "1 images moved" in scarnode(*words).stdout
    assert [event for event, outcome in audited(tmp_path / "spool") if outcome == "0"][-2:] == ["110106", "110105"]
    assert [path.read_bytes() for path in (tmp_path / "other").iterdir()] == [whole]
    assert not (tmp_path / "spool" / came[0].path).exists()
    assert ledger.studies.study_files(1)[1] == [came[1].path, came[2].path]
    assert ledger.studies.quiet_studies(0) == [1]
    ledger.studies.close_study(1, 3, [verdict()], [plan("a")])
    [job] = queries.list_jobs(ledger)
    assert job.patient_id == "SYN-1", "the first image was the other patient's"
    assert "no file of this study" in scarnode(*words, code=2).stderr
    ledger.close()


def test_what_a_header_holds_reaches_no_terminal_and_no_formula(scarnode, tmp_path):
    file = tmp_path / "config.ini"
    file.write_text("[ledger]\nurl = sqlite:///l.sqlite\n[spool]\npath = spool\n")
    (tmp_path / "spool" / "00").mkdir(parents=True)
    header = {
        "PatientName": "=HYPERLINK(1)^A",
        "PatientID": "+1+1",
        "AccessionNumber": "=1+2",
        "SeriesDescription": "psir \x1b]0;x\x07sa\nnext",
    }
    path = tmp_path / "spool" / "00" / f"{STUDY}.1.{1:064x}.dcm"
    instance(1, STUDY, **header).save_as(path, enforce_file_format=True)
    phantom = make_phantom(2, PhantomSettings(matrix=(96, 96), slices=3, component="magnitude"))
    ledger = Ledger(f"sqlite:///{tmp_path / 'l.sqlite'}", "test")
    [stack] = find_stacks(write_dicom(phantom, tmp_path / "lge")).stacks
    ledger.studies.add_instances([describe(tmp_path / "spool", path)])
    verdict = SeriesVerdict(STUDY, "1.2", Verdict.REJECTED, "CINE", "", 0, 1, read_frames(path)[0].description, "MR")
    ledger.studies.close_study(1, 1, [verdict], [PlannedJob("k", "d", "m", stack)])
    ledger.close()
    scarnode("jobs", "export", "-c", file, "-o", tmp_path / "jobs.csv")
    [row] = csv.DictReader((tmp_path / "jobs.csv").open())
    assert (row["patient_name"], row["patient_id"], row["accession_number"]) == ("'=HYPERLINK(1)^A", "'+1+1", "'=1+2")
    with sqlite3.connect(tmp_path / "l.sqlite") as database:
        [[description]] = database.execute("SELECT description FROM series")
    for text in (scarnode("series", "list", "-c", file).stdout, description, (tmp_path / "jobs.csv").read_text()):
        assert text.replace("\n", "").isprintable()


SYNTAX = b"\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\x00"

ODD = {
    "preamble": lambda whole, start: whole[132:],
    "meta": lambda whole, start: whole[start:],
    "prefix alone": lambda whole, start: whole[:132] + whole[start:],
    "transfer syntax": lambda whole, start: whole[: whole.index(SYNTAX)] + whole[whole.index(SYNTAX) + 28 :],
}


MEND = {
    "preamble alone": (lambda whole: whole[:128] + whole[132:], "tail -c"),
    "no zeros": (lambda whole: whole[128:], "128 zero bytes|head -c 128"),
}


def test_segment_reads_files_without_their_beginning_or_says_how_to_mend_them(tmp_path):
    """And it names the study of what it rejects; what libraries say of headers stays out of stderr.

    In a process of its own: it has children, that write there too.
    """
    folder = tmp_path / "in"
    folder.mkdir()
    for number, (name, change) in enumerate([*ODD.items(), *((name, change) for name, (change, _) in MEND.items())], 1):
        ds = instance(
            number, STUDY, SeriesDescription="cine sax", SpecificCharacterSet="ISO IR 192", PatientName="Üte^Ä"
        )
        path = folder / f"{name}.dcm"
        with pytest.warns(UserWarning):
            ds.save_as(path, enforce_file_format=True)
        whole = path.read_bytes()
        start = 144 + int.from_bytes(whole[140:144], "little")
        path.write_bytes(change(whole, start) if name in ODD else change(whole))
    command = [sys.executable, "-m", "scarnode.cli", "segment", folder, "-o", tmp_path / "out", "--json"]
    environment = {**os.environ, "PYTHONWARNINGS": "default"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr.strip()) == (3, "")
    rejected = json.loads(done.stdout)["rejected"]
    unreadable = {Path(row["series_uid"]).stem: row["detail"] for row in rejected if row["reason"] == "UNREADABLE"}
    assert set(unreadable) == set(MEND)
    assert all(re.search(MEND[name][1], why) for name, why in unreadable.items())
    assert {row["study_uid"] for row in rejected if row["reason"] != "UNREADABLE"} == {STUDY}
