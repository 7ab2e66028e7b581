"""Studies come from a real archive (Orthanc) to a real node: found, moved or fetched, counted, and counted again."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from scarnode.dicom.scu import RemoteAE, send
from tests.dicom.query.studies import Kept, make_study
from tests.harness import ledger as books
from tests.harness.node import Node
from tests.harness.orthanc import Orthanc
from tests.harness.senders import dataset_bytes
from tests.harness.tools import free_port

LIMIT = 4


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> dict[str, Kept]:
    folder = tmp_path_factory.mktemp("kept")
    studies = {
        "a": make_study(folder / "a", "ACC-1", day="20260110"),
        "b": make_study(folder / "b", "ACC-2", day="20260112", description="Herz Späte Anreicherung"),
        "c": make_study(folder / "c", "ACC-3", patient="P-3", day="20260112", time="230000"),
        "d": make_study(folder / "d", "ACC-4", day="20260301", series=[("MR", 2)]),
        "e": make_study(folder / "e", "ACC-5", day="20260302", series=[("OT", 1)], description="Knee"),
    }
    for number in range(6):
        day, time = ("20251224", f"{number * 3:02d}0000") if number < 5 else ("20251225", "080000")
        name = f"many-{number}"
        studies[name] = make_study(folder / name, f"XMAS-{number}", "P-9", day, time=time, series=[("MR", 1)])
    return studies


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory, kept, port):
    allowed = {f"DicomAlwaysAllow{what}": True for what in ("Find", "Get", "Move")}
    modalities = {"node": ["SCARNODE", "127.0.0.1", port]}
    folder = tmp_path_factory.mktemp("orthanc")
    with Orthanc(folder, DicomModalities=modalities, LimitFindResults=LIMIT, **allowed) as running:
        target = RemoteAE(running.host, running.port, running.ae_title)
        outcomes = send([path for study in kept.values() for path in study.paths], target, "SCANNER")
        assert all(outcome.ok for outcome in outcomes)
        yield running


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def node(tmp_path_factory, orthanc, port):
    where = {"host": orthanc.host, "port": orthanc.port, "ae_title": orthanc.ae_title}
    sources = {"source:archive": where, "source:fetch": {**where, "how": "get"}}
    folder = tmp_path_factory.mktemp("node")
    # it lets in only whom it must: an archive that was asked to send is one of them
    settings = {"port": port, "calling_ae_titles": "HARNESS"}
    with Node(folder, node=settings, study={"quiet_seconds": 3600}, **sources) as running:
        yield running


@pytest.fixture
def pull(scarnode, node):
    def run(*words, code=0):
        return scarnode("pull", *words, "-c", node.config_path, code=code)

    return run


def in_spool(node: Node, paths: tuple[Path, ...]) -> bool:
    digests = {sha256(dataset_bytes(path)).hexdigest() for path in paths}
    return digests <= {path.stem.rsplit(".", 1)[1] for path in node.spool.glob("*/*.dcm")}


def images(node: Node, study: Kept) -> int:
    sql = "SELECT count(*) AS n FROM instance JOIN study ON study.id = study_id WHERE study_instance_uid = ?"
    return books.query(node.ledger_path, sql, (study.uid,))[0]["n"]


def test_a_dry_run_lists_and_pulls_nothing(pull, node, kept):
    told = json.loads(pull("--accession", "ACC-1", "--from", "archive", "--dry-run", "--json").stdout)
    assert [study["study_instance_uid"] for study in told] == [kept["a"].uid]
    assert [series["instances"] for series in sorted(told[0]["pull"], key=lambda s: s["description"])] == [3, 2]
    assert "2 of 3" in pull("--accession", "ACC-1", "--from", "archive", "--dry-run").stdout
    assert images(node, kept["a"]) == 0


def test_only_what_could_hold_a_stack_is_moved(pull, node, kept):
    done = pull("--accession", "ACC-1", "--from", "archive")
    assert "1 of 1 studies are here" in done.stdout
    assert images(node, kept["a"]) == 5
    assert in_spool(node, kept["a"].mr)
    told = json.loads(pull("--study", kept["a"].uid, "--modality", "", "--from", "archive", "--json").stdout)
    assert (told[0]["ok"], told[0]["images"]) == (True, 7)
    assert images(node, kept["a"]) == 7


def test_images_fetched_by_c_get_are_durable_and_byte_for_byte(pull, node, kept):
    told = json.loads(pull("--patient", "P-3", "--from", "fetch", "--json").stdout)
    assert (told[0]["ok"], told[0]["images"]) == (True, 5)
    assert in_spool(node, kept["c"].mr)
    sql = "SELECT calling_ae FROM study WHERE accession_number = 'ACC-3'"
    assert books.query(node.ledger_path, sql) == [{"calling_ae": "ORTHANC"}]


def test_the_way_can_be_chosen_for_once(pull, node, kept):
    assert json.loads(pull("--accession", "ACC-4", "--from", "archive", "--get", "--json").stdout)[0]["images"] == 2
    assert images(node, kept["d"]) == 2


def test_umlauts_wild_cards_dates_and_a_modality(pull, kept):
    def found(*words):
        done = pull(*words, "--from", "archive", "--dry-run", "--json")
        return sorted(
            name for name in kept for one in json.loads(done.stdout) if one["study_instance_uid"] == kept[name].uid
        )

    assert found("--description", "*späte*", "--date", "2026-01-01-") == ["b"]
    assert found("--description", "*cardiac*", "--date", "2026-01-01-2026-02-01") == ["a", "c"]
    assert found("--accession", "ACC-?") == ["a", "b", "c", "d"]  # e has no MR
    assert found("--accession", "ACC-?", "--modality", "OT") == ["a", "b", "c", "e"]
    assert found("--date", "20260112") == ["b", "c"]
    assert found("--date", "20260201-") == ["d"]
    assert pull("--accession", "NONE", "--from", "archive", code=3).stdout.startswith("nothing found with a series")


def test_an_archive_that_limits_its_answers_is_asked_for_parts(pull, kept):
    told = json.loads(pull("--date", "20251201-20260401", "--from", "archive", "--dry-run", "--json").stdout)
    assert {one["study_instance_uid"] for one in told} == {study.uid for name, study in kept.items() if name != "e"}
    assert len(told) > LIMIT


def test_too_many_at_one_go_and_a_whole_archive_are_refused(pull):
    assert "--limit 6" in pull("--patient", "P-9", "--from", "archive", "--limit", "2", code=2).stderr
    assert "the whole archive" in pull("--patient", "*", "--from", "archive", code=2).stderr
    assert "There are: archive, fetch" in pull("--patient", "x", code=2).stderr
