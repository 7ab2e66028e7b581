"""What real archives do: they limit, pass over keys, do not know us, lose images on the way, and are interrupted."""

from __future__ import annotations

import subprocess
import threading
import time
from hashlib import sha256

import pytest
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from scarnode.dicom.query import (
    Archive,
    FoundSeries,
    FoundStudy,
    Link,
    Period,
    QueryError,
    Wanted,
    choose_series,
    find_studies,
    pull,
    pull_study,
    read_period,
    retrieve,
)
from scarnode.dicom.scu import RemoteAE, send
from scarnode.util.errors import ScarnodeError
from tests.dicom.query.archive import answer, fake_archive, fake_node
from tests.dicom.query.studies import make_study
from tests.harness.senders import dataset_bytes
from tests.harness.tools import find_tool, free_port, wait_until

TITLE = "SCARNODE"
DOZEN = [f"1.2.{number}" for number in range(12)]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(pull, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(pull, "ARRIVAL_PATIENCE", 0.3)
    monkeypatch.setattr(retrieve, "CANCEL_PATIENCE", 1.0)


def link(archive: Archive, node: RemoteAE | None = None, arrived=lambda study, series: 10**6) -> Link:
    return Link(archive, node or RemoteAE("127.0.0.1", 11112, TITLE), TITLE, arrived)


def pull_one(archive: Archive, node=None, images: int = 3, stopping=None, watch=lambda counts: None, **more):
    study = FoundStudy("1.2.3", series=2)
    series = [FoundSeries("1.2.3", "1.2.3.4", "MR", instances=images)]
    return pull_study(link(archive, node, **more), study, series, watch, stopping)


# --- questions


@pytest.mark.parametrize(
    ("declared", "codec", "read"),
    [("ISO_IR 149", "euc_kr", "홍^길동"), ("KLINGON", "euc_kr", ""), ("ISO_IR 100", "utf-8", "홍^길동")],
)
def test_an_answers_character_set_is_read_as_that_of_an_image(declared, codec, read):
    def find(event):
        one = answer(StudyInstanceUID="1.2.3", SpecificCharacterSet=declared, AccessionNumber="2026-HOSP-MR-0001234")
        raw = "홍^길동".encode(codec)
        one[0x00100010] = RawDataElement(Tag(0x00100010), "PN", len(raw), raw, 0, False, True)
        yield 0xFF00, one

    with fake_archive(find) as archive:
        [study] = find_studies(archive, Wanted(study_uid="1.2.3"), TITLE)
    assert (study.patient_name, study.accession_number) == (read, "2026-HOSP-MR-0001234")


def test_an_archive_that_passes_over_keys_is_not_believed():
    def find(event):
        yield 0xFF00, answer(StudyInstanceUID="1.1", AccessionNumber="A1", PatientID="P1", StudyDate="20260110")
        yield 0xFF00, answer(StudyInstanceUID="1.2", AccessionNumber="A2", PatientID="P1", StudyDate="20260110")
        yield 0xFF01, answer(StudyInstanceUID="1.3", AccessionNumber="a1 ", PatientID="P1", StudyDate="2026.01.10")
        yield 0xFF00, answer(StudyInstanceUID="1.4", AccessionNumber="A1", StudyDate="20250110", ModalitiesInStudy="CT")

    with fake_archive(find) as archive:
        assert [s.study_instance_uid for s in find_studies(archive, Wanted(accession="A1"), TITLE)] == ["1.1", "1.3"]
        week = Wanted(accession="A1", period=read_period("2026-01-01-2026-01-31"), modality="")
        assert [s.study_instance_uid for s in find_studies(archive, week, TITLE)] == ["1.1", "1.3"]


@pytest.mark.parametrize("says", [True, False])
def test_more_studies_than_an_archive_gives_at_once(says):
    """Twelve studies on one day, five answers at a time; the archive says that there are more, or we know."""
    asked = []

    def find(event):
        question = event.identifier
        asked.append((question.StudyDate, question.get("StudyTime")))
        first, _, last = str(question.StudyDate).partition("-")
        hours = range(24)
        if question.get("StudyTime"):
            hours = range(int(question.StudyTime[:2]), int(question.StudyTime[7:9]) + 1)
        matching = (
            [uid for n, uid in enumerate(DOZEN) if 2 * n in hours] if first <= "20260110" <= (last or first) else []
        )
        for uid in matching[:5]:
            yield 0xFF00, answer(StudyInstanceUID=uid, StudyDate="20260110")
        if says and len(matching) > 5:
            yield 0xA700, None

    with fake_archive(find, most_answers=0 if says else 5) as archive:
        found = find_studies(archive, Wanted(period=read_period("20260101-20260131")), TITLE)
    assert sorted(s.study_instance_uid for s in found) == sorted(DOZEN)
    assert any(time for _, time in asked)


def test_more_in_a_quarter_of_an_hour_is_an_error_with_a_way_out():
    def find(event):
        yield 0xFF00, answer(StudyInstanceUID="1.2")
        yield 0xFE00, None

    with fake_archive(find) as archive, pytest.raises(QueryError, match=r"quarter of an hour.*Narrow the question"):
        find_studies(archive, Wanted(period=read_period("20260101")), TITLE)


def test_questions_beyond_ascii_are_written_in_the_archives_character_set():
    asked = []

    def find(event):
        asked.append((event.identifier.SpecificCharacterSet, event.request.Identifier.getvalue()))
        yield 0xFF00, answer(StudyInstanceUID="1.1", PatientID="Jürgen-1", SpecificCharacterSet="ISO_IR 100")

    with fake_archive(find, character_set="ISO_IR 100") as archive:
        assert len(find_studies(archive, Wanted(patient="Jürgen*"), TITLE)) == 1
        with pytest.raises(QueryError, match=r"\[source:fake\] character_set"):
            find_studies(archive, Wanted(patient="山田"), TITLE)
    assert asked[0][0] == "ISO_IR 100"
    assert "Jürgen*".encode("latin-1") in asked[0][1]


def test_failures_say_what_to_do():
    def refusing(event):
        yield 0xC001, None

    with fake_archive(refusing) as archive, pytest.raises(QueryError, match=r"0xC001.*administrator"):
        find_studies(archive, Wanted(accession="A"), TITLE)
    nobody = Archive("gone", RemoteAE("127.0.0.1", free_port(), "X", timeout=2))
    with pytest.raises(QueryError, match=r"\[source:gone\].*Check host, port and ae_title"):
        find_studies(nobody, Wanted(accession="A"), TITLE)
    with fake_archive(move=refusing) as archive, pytest.raises(QueryError, match="Allow Query/Retrieve there"):
        find_studies(archive, Wanted(accession="A"), TITLE)

    def hanging(event):
        time.sleep(3)
        yield 0, None

    with fake_archive(hanging, timeout=0.5) as archive, pytest.raises(QueryError, match="did not answer the C-FIND"):
        find_studies(archive, Wanted(accession="A"), TITLE)


@pytest.mark.parametrize(
    ("text", "period"),
    [("", ""), ("20260131", "20260131"), ("2026-01-31", "20260131"), ("2026-01-01-2026-02-01", "20260101-20260201"),
     ("20260101-", "20260101-"), ("-20260101", "-20260101")],
)  # fmt: skip
def test_periods(text, period):
    assert str(read_period(text)) == period


@pytest.mark.parametrize("text", ["yesterday", "20261301", "20260201-20260101", "2026", "20260101-x"])
def test_what_is_no_period(text):
    with pytest.raises(ScarnodeError):
        read_period(text)
    assert Period() == read_period("")


def test_series_without_a_modality_are_pulled_too():
    def find(event):
        for uid, modality in (("1", "MR"), ("2", "OT"), ("3", "")):
            yield (
                0xFF00,
                answer("SERIES", StudyInstanceUID="1.2.3", SeriesInstanceUID=f"1.2.3.{uid}", Modality=modality),
            )

    with fake_archive(find) as archive:
        chosen = choose_series(link(archive), FoundStudy("1.2.3"), "MR")
    assert [series.series_instance_uid for series in chosen] == ["1.2.3.1", "1.2.3.3"]


# --- retrievals


def test_an_archive_that_does_not_know_us_says_what_to_enter_where():
    def move(event):
        yield None, None  # pynetdicom answers A801

    with fake_archive(move=move) as archive:
        done = pull_one(archive)
    assert not done.ok
    assert "0xA801" in done.detail
    assert "Enter on ARCHIVE a DICOM node with AE title SCARNODE, address 127.0.0.1, port 11112." in done.detail


class Moves:
    """Takes C-MOVE, sends what it is told to, and remembers what it was asked for."""

    def __init__(self, node: RemoteAE, paths, failing=()) -> None:
        self.node, self.paths, self.failing, self.asked = node, paths, list(failing), []

    def __call__(self, event):
        wanted = event.identifier
        self.asked.append(wanted)
        uids = wanted.get("SOPInstanceUID") or []
        uids = [uids] if isinstance(uids, str) else list(uids)
        datasets = [dcmread(path) for path in self.paths]
        datasets = [d for d in datasets if not uids or d.SOPInstanceUID in uids]
        failing = self.failing.pop(0) if self.failing else ()
        yield self.node.host, self.node.port
        yield len(datasets)
        for number, dataset in enumerate(datasets):
            if number in failing:
                dataset.file_meta = None  # it can not be sent
                del dataset.SOPClassUID
            yield 0xFF00, dataset


@pytest.fixture
def images(tmp_path):
    return make_study(tmp_path / "study", series=[("MR", 4)]).mr


def test_only_what_did_not_come_is_asked_for_again(images):
    came, seen = [], []
    with fake_node(lambda event: came.append(str(event.request.AffectedSOPInstanceUID)) or 0) as node:
        moves = Moves(node, images, failing=[(1, 2)])

        def move(event):
            yield from moves(event)

        with fake_archive(move=move) as archive:
            done = pull_one(archive, node, 4, watch=seen.append, arrived=lambda *_: len(set(came)))
    assert done.ok, done
    assert len(set(came)) == 4
    levels = [question.QueryRetrieveLevel for question in moves.asked]
    assert levels[0] == "SERIES"
    assert len(levels) == 2
    assert seen[-1].completed == 4 or seen[-1].remaining == 0


def test_a_node_that_is_full_for_a_moment_gets_it_all(images):
    answers, came = iter([0, 0xA700, 0, 0]), set()

    def store(event):
        status = next(answers, 0)
        came.update([str(event.request.AffectedSOPInstanceUID)] if status == 0 else [])
        return status

    with fake_node(store) as node:
        moves = Moves(node, images)
        with fake_archive(move=moves) as archive:
            done = pull_one(archive, node, 4, arrived=lambda *_: len(came))
    assert done.ok
    assert len(came) == 4


def test_success_that_went_to_another_machine_is_none(images):
    with fake_node(lambda event: 0) as other:
        moves = Moves(other, images)
        with fake_archive(move=moves) as archive:
            done = pull_one(archive, images=4, arrived=lambda *_: 0)
    assert not done.ok
    assert "sent 4 images, and 0 came" in done.detail
    assert "AE title SCARNODE" in done.detail


def test_success_about_nothing_is_none():
    def move(event):
        yield "127.0.0.1", free_port()
        yield 0

    with fake_archive(move=move) as archive:
        done = pull_one(archive, arrived=lambda *_: 0)
    assert not done.ok
    assert "sent nothing of 3 images" in done.detail


def test_an_archive_whose_images_we_do_not_take_is_asked_again_and_then_told(images):
    with fake_node(lambda event: 0xA700) as node:
        moves = Moves(node, images)
        with fake_archive(move=moves) as archive:
            done = pull_one(archive, node, 4, arrived=lambda *_: 0)
    assert not done.ok
    assert len(moves.asked) == pull.MAX_TRIES
    assert done.failed == 4
    assert "calling_ae_titles" in done.detail


def test_an_association_that_is_aborted_is_opened_again(images):
    calls, came = [], set()
    with fake_node(lambda event: came.add(str(event.request.AffectedSOPInstanceUID)) or 0) as node:
        moves = Moves(node, images)

        def move(event):
            calls.append(event)
            if len(calls) == 1:
                event.assoc.abort()
                return
            yield from moves(event)

        with fake_archive(move=move) as archive:
            done = pull_one(archive, node, 4, arrived=lambda *_: len(came))
    assert done.ok
    assert len(calls) == 2


def test_ctrl_c_becomes_a_c_cancel(images):
    stopping, cancelled = threading.Event(), []

    def move(event):
        yield "127.0.0.1", port
        yield 1000
        for _ in range(200):
            if event.is_cancelled:
                cancelled.append(True)
                yield 0xFE00, Dataset()
                return
            yield 0xFF00, dcmread(images[0])
            stopping.set()
            time.sleep(0.05)

    with fake_node(lambda event: 0) as node:
        port = node.port
        with fake_archive(move=move) as archive:
            done = pull_one(archive, node, 1000, stopping=stopping)
    assert cancelled
    assert done.cancelled
    assert not done.ok


def test_an_archive_that_does_not_heed_a_cancel_is_cut_off(images):
    stopping = threading.Event()

    def move(event):
        stopping.set()
        time.sleep(4)
        yield "127.0.0.1", 1

    started = time.monotonic()
    with fake_archive(move=move) as archive:
        done = pull_one(archive, stopping=stopping)
    assert done.cancelled
    assert time.monotonic() - started < 4


# --- C-GET


def gives(paths):
    def get(event):
        yield len(paths)
        for path in paths:
            yield 0xFF00, dcmread(path)

    return get


def test_images_by_c_get_reach_the_node_before_the_archive_hears_success(images):
    came = []
    store = lambda event: came.append(sha256(event.encoded_dataset(include_meta=False)).hexdigest()) or 0  # noqa: E731
    with fake_node(store) as node, fake_archive(get=gives(images), how="get") as archive:
        done = pull_one(archive, node, 4)
    assert done.ok, done
    assert came == [sha256(dataset_bytes(path)).hexdigest() for path in images]


def test_what_the_node_refuses_the_archive_hears(images):
    with fake_node(lambda event: 0xA700) as node, fake_archive(get=gives(images), how="get") as archive:
        done = pull_one(archive, node, 4)
    assert not done.ok
    assert done.failed
    assert "The node said" in done.detail
    assert "0xA700" in done.detail


def test_without_the_node_nothing_is_fetched(images):
    nobody = RemoteAE("127.0.0.1", free_port(), TITLE, timeout=2)
    with fake_archive(get=gives(images), how="get") as archive:
        done = pull_one(archive, nobody, 4)
    assert not done.ok
    assert "No connection to SCARNODE" in done.detail


def test_an_archive_without_c_get_says_so(images):
    with fake_archive(move=lambda event: iter(()), how="get") as archive:
        done = pull_one(archive)
    assert not done.ok
    assert "how = move" in done.detail


# --- dcmtk


@pytest.fixture
def dcmqrscp(tmp_path):
    """Run dcmtk's archive; it knows one move destination, whose port the test chooses."""
    program, port, node_port = find_tool("dcmqrscp"), free_port(), free_port()
    (tmp_path / "db").mkdir()
    config = tmp_path / "dcmqrscp.cfg"
    config.write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
        f"HostTable BEGIN\nnode = (SCARNODE, localhost, {node_port})\nHostTable END\n"
        "VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nQRSCP {tmp_path}/db RW (100, 1024mb) ANY\nAETable END\n"
    )
    process = subprocess.Popen([program, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peer = RemoteAE("127.0.0.1", port, "QRSCP", timeout=10)
    try:
        from scarnode.dicom.scu import echo

        wait_until(lambda: echo(peer, "X").ok or process.poll() is not None, 10, "dcmqrscp")
        yield peer, node_port
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("how", ["move", "get"])
def test_dcmtks_archive(dcmqrscp, tmp_path, how):
    peer, node_port = dcmqrscp
    study = make_study(tmp_path / "study", "ACC-7")
    assert all(outcome.ok for outcome in send(study.paths, peer, "SCANNER"))
    archive, came = Archive("q", peer, how), set()
    from pynetdicom import AE, AllStoragePresentationContexts, evt

    ae = AE("SCARNODE")
    for context in AllStoragePresentationContexts:
        ae.add_supported_context(context.abstract_syntax)
    take = lambda event: came.add(str(event.request.AffectedSOPInstanceUID)) or 0  # noqa: E731
    server = ae.start_server(("127.0.0.1", node_port), block=False, evt_handlers=[(evt.EVT_C_STORE, take)])
    try:
        node = RemoteAE("127.0.0.1", node_port, TITLE, timeout=5)
        way = link(archive, node, lambda *_: len(came))
        [found] = find_studies(archive, Wanted(accession="ACC-7"), TITLE)
        done = pull_study(way, found, choose_series(way, found, "MR"))
        unknown = link(archive, RemoteAE("127.0.0.1", node_port, "NOBODY"), lambda *_: 0)
        lost = pull_study(unknown, found, choose_series(unknown, found, "MR")) if how == "move" else None
    finally:
        threading.Thread(target=server.shutdown, daemon=True).start()
    assert (done.ok, done.images) == (True, 5), done
    assert came == {str(dcmread(path).SOPInstanceUID) for path in study.mr}
    if lost:
        assert "0xA801" in lost.detail
