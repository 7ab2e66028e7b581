"""Nightly rules and cohorts, with a real archive (Orthanc) and a real node."""

from __future__ import annotations

import csv
from datetime import datetime, time, timedelta, timezone
from pathlib import Path

import pytest

from scarnode.dicom.query import PullRule
from scarnode.dicom.scu import RemoteAE, send
from scarnode.ledger.cohort import read_cohort
from scarnode.ledger.ledger import Ledger
from scarnode.ledger.pulls import Run
from scarnode.node.tasks.nightly import is_due
from scarnode.util.errors import ScarnodeError
from tests.dicom.query.studies import make_study
from tests.harness import ledger as books
from tests.harness.node import Node
from tests.harness.orthanc import Orthanc
from tests.harness.senders import small_studies
from tests.harness.tools import free_port, wait_until

RULE = PullRule("n", "a", "MR", "", timedelta(days=7), time(23, 0), 5, 0.0)


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 3, day, hour, minute, tzinfo=timezone.utc)


def run(begun: datetime, ended: bool = True) -> Run:
    return Run("n", begun.timestamp(), begun.timestamp() + 60 if ended else None, 0, 0, 0, "")


@pytest.mark.parametrize(
    ("last", "now", "due"),
    [
        (None, at(1, 22, 59), False),
        (None, at(1, 23, 0), True),
        (None, at(2, 1, 0), True),  # over midnight
        (None, at(2, 3, 0), False),  # the node was away: not by day
        (run(at(1, 23)), at(2, 1), False),
        (run(at(1, 23), ended=False), at(2, 1), True),  # the node ended in the middle of it
        (run(at(1, 23)), at(2, 23), True),
        (run(at(2, 12)), at(2, 23), True),  # by hand
    ],
)
def test_when_a_rule_is_due(last, now, due):
    assert is_due(RULE, last, now) is due


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory, port):
    allowed = {f"DicomAlwaysAllow{what}": True for what in ("Find", "Get", "Move")}
    modalities = {"node": ["SCARNODE", "127.0.0.1", port]}
    with Orthanc(tmp_path_factory.mktemp("orthanc"), DicomModalities=modalities, **allowed) as running:
        yield running


@pytest.fixture(scope="module")
def keep(orthanc):
    """Put files into the archive."""

    def keep_(paths) -> None:
        outcomes = send(list(paths), RemoteAE(orthanc.host, orthanc.port, orthanc.ae_title), "SCANNER")
        assert all(outcome.ok for outcome in outcomes)

    return keep_


@pytest.fixture(scope="module")
def studies(tmp_path_factory, keep):
    folder = tmp_path_factory.mktemp("studies")
    kept = [make_study(folder / str(n), f"N-{n}", day=f"2026011{n}", description="Cardiac Viability") for n in range(3)]
    other = make_study(folder / "other", "N-9", day="20260115", description="Knee")
    for study in (*kept, other):
        keep(study.paths)
    return folder, kept


@pytest.fixture(scope="module")
def node(tmp_path_factory, orthanc, port, studies):
    where = {"host": orthanc.host, "port": orthanc.port, "ae_title": orthanc.ae_title}
    rule = {"description": "*viability*", "since": "2026-01-01", "pause_seconds": 0, "limit": 2}
    later = (datetime.now() + timedelta(hours=6)).strftime("%H:%M")
    sections = {
        "source:archive": where,
        "source:gone": {**where, "port": free_port(), "timeout_seconds": 1},
        "pull:night": {**rule, "source": "archive", "at": datetime.now().strftime("%H:%M")},
        "pull:hand": {**rule, "source": "archive", "at": later},
        "pull:broken": {"source": "gone", "at": later},
    }
    study = {"quiet_seconds": 1, "hold_flags": ""}
    audit = {"url": f"syslog-tls://127.0.0.1:{free_port()}"}  # nobody is there: the messages wait
    with Node(tmp_path_factory.mktemp("node"), node={"port": port}, study=study, audit=audit, **sections) as running:
        yield running


def arrived(node: Node) -> dict[str, int]:
    sql = "SELECT accession_number AS a, count(*) AS n FROM instance JOIN study ON study.id = study_id GROUP BY 1"
    return {row["a"]: row["n"] for row in books.query(node.ledger_path, sql)}


def told(node: Node, event: str) -> list[str]:
    """Give the audit messages of an event that wait."""
    texts = [path.read_text(errors="replace") for path in sorted((node.spool / "audit").glob("*.msg"))]
    return [text for text in texts if f'EventID csd-code="{event}"' in text]


@pytest.mark.slow
def test_the_node_pulls_at_its_time_up_to_its_limit_and_nothing_twice(node, scarnode, studies, keep):
    folder, kept = studies
    sql = "SELECT * FROM pull_run WHERE ended_at IS NOT NULL"
    [night] = wait_until(lambda: books.query(node.ledger_path, sql), 30, "the end of the night's run")
    assert (night["rule"], night["pulled"], night["failed"], night["left_over"]) == ("night", 2, 0, 1)
    assert arrived(node) == {"N-1": 5, "N-2": 5}  # the newest first, MR only
    words = ("pull", "--rule", "hand", "-c", node.config_path)
    assert "1 studies pulled, 0 failed, 0 left" in scarnode(*words).stdout
    [accessed] = told(node, "110103")  # by who ran the rule; the night's run asked nobody
    assert kept[0].uid in accessed
    assert "0 studies pulled, 0 failed, 0 left" in scarnode(*words).stdout
    assert arrived(node) == {"N-0": 5, "N-1": 5, "N-2": 5}
    more = make_study(folder / "more", "N-1", day="20260111", description="Cardiac Viability", uid=kept[1].uid)
    keep(more.paths)
    assert "1 studies pulled" in scarnode(*words).stdout
    assert arrived(node)["N-1"] == 10
    assert len(books.query(node.ledger_path, "SELECT * FROM pull_run WHERE rule = 'night'")) == 1


def test_a_rule_that_fails_raises_an_alarm(node, scarnode):
    done = scarnode("pull", "--rule", "broken", "-c", node.config_path, code=1)
    assert "0 studies pulled, 1 failed" in done.stdout
    [alarm] = books.query(node.ledger_path, "SELECT * FROM alarm WHERE name = 'pull_broken' AND cleared_at IS NULL")
    assert "No connection to ORTHANC" in alarm["detail"]
    assert "There are: night, hand, broken" in scarnode("pull", "--rule", "x", "-c", node.config_path, code=2).stderr


@pytest.mark.slow
def test_a_cohort_becomes_one_table_and_the_command_goes_on_where_it_was(node, scarnode, tmp_path, keep, studies):
    study = next(small_studies(tmp_path, "cohort"))
    keep(study.paths)
    cohort, results = tmp_path / "cohort.csv", tmp_path / "out.csv"
    cohort.write_text(f"nr;StudyInstanceUID;Accession\n1;{study.uid};\n2;;N-0\n3;;NONE\n")
    words = ["pull", "--cohort", cohort, "--from", "archive", "--results", results, "-c", node.config_path]
    scarnode(*words, code=1)
    first = list(csv.DictReader(results.open()))
    assert [row["nr"] for row in first] == ["1", "2", "3"]
    assert (first[0]["state"], first[0]["slices"]) == ("done", "3")
    assert float(first[0]["myocardium_volume_cm3"]) > 0
    assert (first[1]["state"], first[1]["reason"][:8]) == ("no result", "no stack")
    assert (first[2]["state"], first[2]["reason"]) == ("missing", "the archive has no such study")
    assert "Research use only" in first[0]["notice"]
    assert results.stat().st_mode & 0o077 == 0
    [export, *_] = told(node, "110106")  # before the table is written first
    assert study.uid in export
    assert results.as_uri() in export
    before = arrived(node)
    scarnode(*words, "--no-wait", code=1)
    assert list(csv.DictReader(results.open())) == first
    assert arrived(node) == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "no column that names studies"),
        ("accession\nA\n \n,\n", "ok"),
        ("accession,x\nA,1\n,2\n", "row 3"),
    ],
)
def test_tables_that_are_no_cohort(tmp_path, text, said):
    path = tmp_path / "c.csv"
    path.write_text(text)
    if said == "ok":
        assert [member.accession for member in read_cohort(path).members] == ["A"]
    else:
        with pytest.raises(ScarnodeError, match=said):
            read_cohort(path)


def test_the_ledger_remembers_what_changed(tmp_path: Path):
    ledger = Ledger(f"sqlite:///{tmp_path}/l.sqlite", actor="test")
    assert not ledger.pulls.was_pulled("a", "1.2", 5)
    ledger.pulls.note_pulled("a", "1.2", 5)
    assert ledger.pulls.was_pulled("a", "1.2", 5)
    assert ledger.pulls.was_pulled("a", "1.2", None)
    assert not ledger.pulls.was_pulled("a", "1.2", 6)
    assert not ledger.pulls.was_pulled("b", "1.2", 5)
    ledger.pulls.note_pulled("a", "1.2", 6)
    assert ledger.pulls.was_pulled("a", "1.2", 6)
    ledger.close()
