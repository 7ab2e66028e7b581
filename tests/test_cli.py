"""The commands, as an admin types them."""

import csv
import json
from pathlib import Path

import pytest

from scarnode import RESEARCH_USE, __version__
from scarnode.jobs import Ledger
from scarnode.lab.phantom import PhantomSettings, make_phantom, write_dicom
from tests.harness import free_port
from tests.harness.mail import mail_server
from tests.jobs.builders import STUDY, TO_PACS, analysed, plan, received, verdict


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A node's folder with one delivered, one held and one failed job."""
    folder = tmp_path_factory.mktemp("admin")
    file = folder / "config.ini"
    file.write_text(
        "[ledger]\nurl = sqlite:///l.sqlite\n[destination:pacs]\nhost = localhost\nport = 104\nae_title = P\n"
    )
    ledger = Ledger(f"sqlite:///{folder / 'l.sqlite'}", "test")
    ledger.add_instances([received(number) for number in range(1, 10)])
    plans = [plan("a", range(1, 4)), plan("b", range(4, 7)), plan("c", range(7, 10))]
    ledger.close_study(
        1, 9, [verdict(), verdict(f"{STUDY}.5", accepted=False)], plans, {f"00/{STUDY}.2.dcm": "cut short"}
    )
    ledger.finish(ledger.claim("h:0", 60), analysed("a"), {})
    ledger.finish(ledger.claim("h:0", 60), analysed("b", ("FEW_SLICES",)), TO_PACS, ("FEW_SLICES",))
    ledger.fail(ledger.claim("h:0", 60), "pixel data can not be decoded", 3, permanent=True)
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
    assert "nobody is told of alarms" in told
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
    assert text.count("NOT GOOD. No connection to") == 2
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
    from tests.receive.builders import instance, write

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
    assert "nobody is told" in scarnode("alarms", "--test", "-c", config, code=1).stdout
    mail = "mail_server = smtp://127.0.0.1:{}\nmail_from = a@example.org\nmail_to = b@example.org\n"
    with mail_server() as box:
        config.write_text("[notify]\n" + mail.format(box.port))
        assert scarnode("alarms", "--test", "-c", config).stdout == "mail: sent.\n"
        assert "test message" in box.mails[0]["Subject"]
        config.write_text(f"[notify]\n{mail.format(box.port)}webhook_url = http://127.0.0.1:1/\n")
        told = scarnode("alarms", "--test", "-c", config, code=1).stdout
    assert "mail: sent." in told
    assert "webhook: NOT SENT. webhook: no connection: refused" in told
