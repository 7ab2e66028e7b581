"""Bad input over the wire, and settings that can not be: a clear error, nothing lost, and the node lives on."""

from __future__ import annotations

import random
import re
import shutil
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pynetdicom import AE, build_context
from pynetdicom.dsutils import split_dataset

import scarnode.node.node
import scarnode.pipeline.segment
from scarnode.config import read_settings
from scarnode.dicom.reactor import held
from scarnode.dicom.scu import Outcome, RemoteAE, send
from scarnode.phantom import PhantomSettings, make_phantom
from scarnode.phantom.dicom import write_cine, write_dicom
from scarnode.util.errors import ConfigError, ScarnodeError
from tests.harness import ledger as books
from tests.harness.dcmtk import echoscu, storescu
from tests.harness.node import Node
from tests.harness.orthanc import Orthanc
from tests.harness.peers import Relay
from tests.harness.tools import wait_until

PRIVATE_SOP_CLASS = "1.2.826.0.1.3680043.10.511.99"


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory):
    with Orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


@pytest.fixture(scope="module")
def node(tmp_path_factory, orthanc):
    """One node for everything this module throws at it; its last test is that it still works."""
    folder = tmp_path_factory.mktemp("node")
    with Node(folder, {"pacs": orthanc}, node={"network_timeout_seconds": 3}, study={"quiet_seconds": 0.5}) as running:
        yield running


@pytest.fixture(autouse=True)
def the_node_is_alive(request):
    yield
    if "node" in request.fixturenames:
        node = request.getfixturevalue("node")
        assert node.echo()
        assert node.pid == request.module.PIDS.setdefault(node.folder, node.pid), "the node was restarted"


PIDS: dict[Path, int] = {}


@pytest.fixture(scope="module")
def lge(tmp_path_factory) -> list[Path]:
    """A good magnitude LGE stack of six slices."""
    phantom = make_phantom(41, PhantomSettings(matrix=(192, 192), slices=6, component="magnitude"))
    return write_dicom(phantom, tmp_path_factory.mktemp("lge"))


def another_study(
    paths: list[Path], folder: Path, change: Callable[[int, Dataset], None] = lambda number, ds: None
) -> tuple[str, list[Path]]:
    """Write a study again as another one, each instance changed; give its Study Instance UID too."""
    study, written = generate_uid(), []
    series: dict[str, str] = {}
    for number, path in enumerate(paths):
        ds = dcmread(path)
        ds.StudyInstanceUID, ds.SOPInstanceUID = study, generate_uid()
        ds.SeriesInstanceUID = series.setdefault(ds.SeriesInstanceUID, generate_uid())
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        change(number, ds)
        folder.mkdir(exist_ok=True)
        ds.save_as(folder / f"{number}.dcm", enforce_file_format=True)
        written.append(folder / f"{number}.dcm")
    return study, written


def push(node: Node, paths: list[Path]) -> tuple[Outcome, ...]:
    """Send files exactly as they lie there; dcmtk's storescu refuses to send damaged ones."""
    return send(paths, RemoteAE(node.host, node.port, node.ae_title, timeout=20), "SCANNER")


def dataset_bytes(path: Path) -> bytes:
    return path.read_bytes()[split_dataset(path)[1] :]


def assert_spooled(node: Node, paths: list[Path]) -> None:
    """Every byte that was answered with Success lies in the spool."""
    kept = {dataset_bytes(path) for path in node.spool.rglob("*.dcm")}
    assert all(dataset_bytes(path) in kept for path in paths)


def verdicts(node: Node, study: str) -> list[tuple[str, str]]:
    """Wait until a study was searched, and give verdict and reason of its series."""
    statement = "SELECT verdict, reason FROM series_verdict WHERE study_instance_uid = ?"
    rows = wait_until(lambda: books.query(node.ledger_path, statement, [study]), 60, f"verdicts of study {study}")
    return [(row["verdict"], row["reason"]) for row in rows]


def problem_of(node: Node, path: Path) -> str:
    """Wait until an instance is in the ledger with a problem, and give that."""
    uid = str(split_dataset(path)[0].MediaStorageSOPInstanceUID)
    statement = "SELECT problem FROM instance WHERE sop_instance_uid = ? AND problem != ''"
    return wait_until(lambda: books.query(node.ledger_path, statement, [uid]), 60, "the problem")[0]["problem"]


# --- images that can not be used


def without(*keywords: str) -> Callable[[int, Dataset], None]:
    def change(_: int, ds: Dataset) -> None:
        for keyword in keywords:
            delattr(ds, keyword)

    return change


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        (["PixelData"], "NO_PIXEL_DATA"),
        (["ImagePositionPatient"], "NO_GEOMETRY"),
        (["ImageOrientationPatient"], "NO_GEOMETRY"),
        (["PixelSpacing"], "NO_GEOMETRY"),
        (["Rows"], "BAD_SIZE"),
    ],
)
def test_a_study_that_lacks_something_gets_a_reason(node, lge, tmp_path, missing, reason):
    study, paths = another_study(lge, tmp_path / "study", without(*missing))
    assert all(outcome.ok for outcome in push(node, paths))
    assert verdicts(node, study) == [("rejected", reason)]
    assert_spooled(node, paths)
    assert books.jobs(node.ledger_path, study) == []


def test_a_truncated_file_is_named_and_its_gap_holds_the_result(node, lge, orthanc, tmp_path):
    study, paths = another_study(lge, tmp_path / "study")
    middle = sorted(paths, key=lambda path: float(dcmread(path).ImagePositionPatient[2]))[len(paths) // 2]
    middle.write_bytes(middle.read_bytes()[:-30000])
    assert all(outcome.ok for outcome in push(node, paths))
    assert sorted(verdicts(node, study)) == [("accepted", "LGE_SHORT_AXIS"), ("rejected", "TRUNCATED_PIXEL_DATA")]
    [job] = books.wait_for_jobs(node.ledger_path, study, timeout=120)
    assert (job["state"], job["slices"]) == ("held", 5)
    assert "MISSING_SLICE" in job["flags"]
    assert_spooled(node, paths)
    assert orthanc.instances(study) == []  # held means: not sent


def test_a_file_cut_inside_its_header(node, lge, tmp_path):
    study, [path] = another_study(lge[:1], tmp_path / "study")
    path.write_bytes(path.read_bytes()[: split_dataset(path)[1] + 700])
    [outcome] = push(node, [path])
    assert outcome.ok
    assert_spooled(node, [path])
    row = "SELECT problem FROM instance WHERE sop_instance_uid = ?"
    uid = str(split_dataset(path)[0].MediaStorageSOPInstanceUID)
    wait_until(lambda: books.query(node.ledger_path, row, [uid]), 60, "the instance in the ledger")
    searched = "SELECT verdict FROM series_verdict WHERE study_instance_uid = ?"
    wait_until(
        lambda: (
            books.query(node.ledger_path, row, [uid])[0]["problem"] or books.query(node.ledger_path, searched, [study])
        ),
        60,
        "a problem or a verdict",
    )


@pytest.mark.parametrize("garbage", ["random", "text", "nothing", "zeros", "lengths", "endless"])
def test_bytes_that_are_no_dicom(node, lge, tmp_path, garbage):
    start = split_dataset(lge[0])[1]
    _, [path] = another_study(lge[:1], tmp_path / "study")
    content = {
        "random": random.Random(1).randbytes(50_000),
        "text": b"<html>this is not DICOM</html>" * 100,
        "nothing": b"",
        "zeros": bytes(10_000),
        "endless": b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" + bytes(3000),
        "lengths": b"\x08\x00\x05\x00CS\xff\xff" + b"\x10\x00\x10\x00UT\0\0\xff\xff\xff\x7f" * 50,
    }[garbage]
    path.write_bytes(path.read_bytes()[: split_dataset(path)[1]] + content)
    assert start > 0
    [outcome] = push(node, [path])
    if outcome.ok:
        assert_spooled(node, [path])
        assert problem_of(node, path)
    else:
        assert outcome.status is not None, outcome.detail  # a refusal is an answer; a hang or an abort is none


def test_a_cine_study_is_left_alone(node, tmp_path):
    phantom = make_phantom(42, PhantomSettings(matrix=(96, 96), slices=6, component="magnitude"))
    paths = write_cine(phantom, tmp_path / "cine", phases=10, slices=2)
    study = str(dcmread(paths[0]).StudyInstanceUID)
    assert all(outcome.ok for outcome in push(node, paths))
    [(verdict, reason)] = verdicts(node, study)
    assert verdict == "rejected"
    assert reason in ("CINE", "MANY_PHASES")
    assert books.jobs(node.ledger_path, study) == []


def test_other_storage_classes_are_kept_with_a_reason(node, lge, tmp_path):
    def into_ct(_: int, ds: Dataset) -> None:
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        ds.Modality = "CT"

    study, paths = another_study(lge, tmp_path / "study", into_ct)
    assert storescu(node.host, node.port, paths, node.ae_title).returncode == 0
    assert verdicts(node, study) == [("rejected", "NOT_MR")]


# --- associations that can not be


def test_an_unknown_sop_class_is_refused_and_the_association_lives_on(node, lge, tmp_path):
    _, paths = another_study(lge[:1], tmp_path / "study")
    contexts = [build_context(PRIVATE_SOP_CLASS), build_context(MRImageStorage, ExplicitVRLittleEndian)]
    link = held(AE("SCANNER").associate(node.host, node.port, contexts, ae_title=node.ae_title))
    assert link.is_established
    assert [context.abstract_syntax for context in link.rejected_contexts] == [PRIVATE_SOP_CLASS]
    assert link.send_c_store(dcmread(paths[0])).Status == 0x0000
    link.release()
    assert link.is_released
    assert_spooled(node, paths)

    [outcome] = push(node, another_study(lge[:1], tmp_path / "private", private_class)[1])
    assert outcome.permanent
    assert "SOP class not supported" in outcome.detail


def private_class(_: int, ds: Dataset) -> None:
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = PRIVATE_SOP_CLASS


def test_a_wrong_called_ae_title_is_rejected(node, lge):
    answer = echoscu(node.host, node.port, "OTHER")
    assert answer.returncode != 0
    assert "Called AE Title Not Recognized" in answer.stdout + answer.stderr
    answer = storescu(node.host, node.port, lge, "OTHER")
    assert answer.returncode != 0
    assert echoscu(node.host, node.port, node.ae_title).returncode == 0


def test_noise_on_the_port(node):
    for noise in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 1000,
        b"\x04\0\xff\xff\xff\xff",
        b"\x01\0\0\0\0\x04\0\0\0\0",
        b"",
    ):
        with socket.create_connection((node.host, node.port), timeout=5) as sock:
            sock.sendall(noise)
    assert node.echo()


def test_a_sender_whose_line_goes_dead_in_the_middle_of_an_image_stops_nobody(node, lge, tmp_path):
    _, [path] = another_study(lge[:1], tmp_path / "study")
    with Relay(node.port, 30_000, "freeze") as port:
        [outcome] = send([path], RemoteAE(node.host, port, node.ae_title, timeout=1), "SCANNER")
        assert not outcome.ok
        assert node.echo()
        assert all(outcome.ok for outcome in push(node, another_study(lge[:1], tmp_path / "good")[1]))
        assert not list(node.spool.rglob(f"*{dcmread(path).SOPInstanceUID}*")), "half an image was kept"


# --- settings and surroundings that can not be: each refuses to start


def refusal(node: Node) -> str:
    """Run a node that should not start, and give what it says to stderr."""
    done = node.run()
    assert done.returncode not in (0, None)
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done.stderr


def test_a_port_in_use(node, tmp_path):
    said = refusal(Node(tmp_path, node={"port": node.port}))
    assert f"127.0.0.1:{node.port}" in said
    assert "in use" in said
    assert "config.ini" in said


@pytest.mark.parametrize(
    ("section", "key", "value", "allowed"),
    [
        ("node", "port", "70000", "65535"),
        ("node", "port", "many", "integer"),
        ("node", "ae_title", "A TITLE THAT IS TOO LONG", "1 to 16"),
        ("study", "quiet_seconds", "-1", "0"),
        ("segment", "device", "tpu", "cpu"),
        ("segment", "colour", "red", "workers"),
    ],
)
def test_a_wrong_value_names_file_section_key_value_and_what_is_allowed(tmp_path, section, key, value, allowed):
    path = Node(tmp_path, **{section: {key: value}}).write_config()
    with pytest.raises(ConfigError) as error:
        read_settings(path)
    for word in (str(path), f"[{section}]", key, allowed, *([value] if key != "colour" else [])):
        assert word in str(error.value)


def test_serve_says_what_is_wrong_in_config_ini(tmp_path, scarnode):
    node = Node(tmp_path, node={"port": "many"}, destinations={"pacs": {"host": "pacs", "ae_title": "PACS"}})
    said = scarnode("serve", "-c", node.write_config(), code=2).stderr
    for word in (str(tmp_path / "config.ini"), "[node]", "port", "many", "[destination:pacs]", "missing"):
        assert word in said


def shipped_weights() -> Path:
    folder = Path(scarnode.pipeline.segment.__file__).resolve().parents[3] / "model_weights"
    found = sorted(folder.glob("*.safetensors"))
    assert found, f"no weights in {folder}"
    return found[0]


def refused(node: Node) -> str:
    """Give why a node does not start, asked in this process: `refusal` shows how `serve` tells it."""
    with pytest.raises(ScarnodeError) as error:
        scarnode.node.node.Node(read_settings(node.write_config()))
    return str(error.value)


def test_weights_that_are_not_there(tmp_path):
    said = refused(Node(tmp_path, segment={"weights": tmp_path / "absent.safetensors"}))
    assert str(tmp_path / "absent.safetensors") in said


def test_weights_that_are_not_the_ones_their_card_describes(tmp_path):
    for path in shipped_weights().parent.glob(shipped_weights().stem + ".*"):
        shutil.copy(path, tmp_path / path.name)
    weights = tmp_path / shipped_weights().name
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    said = refused(Node(tmp_path / "node", segment={"weights": weights}))
    assert str(weights) in said
    assert "sha256" in said.lower().replace("-", "")


@pytest.mark.parametrize("what", ["spool", "results"])
@pytest.mark.slow
def test_a_place_that_can_not_be_written(tmp_path, what):
    """Also for root, whom permissions do not stop: below a file there can be no folder."""
    (tmp_path / "file").write_text("")
    said = refusal(Node(tmp_path / "node", **{what: {"path": tmp_path / "file" / "below"}}))
    assert str(tmp_path / "file" / "below") in said
    assert f"[{what}] path" in said


@pytest.mark.slow
def test_a_second_node_on_the_same_spool(node, tmp_path):
    said = refusal(Node(tmp_path, spool={"path": node.spool}))
    assert str(node.spool) in said


# --- and after all this


def test_after_everything_a_good_study_still_comes_back(node, lge, orthanc, tmp_path):
    study, paths = another_study(lge, tmp_path / "study")
    done = storescu(node.host, node.port, paths, node.ae_title)
    assert done.returncode == 0, done.stderr
    assert {ds.Modality for ds in orthanc.wait_for(3, 120, study)} == {"SEG", "SR", "OT"}
    log = node.log()
    assert not re.search(r'File ".*/scarnode/', log), "an error of ours got as far as the log"
    name = dcmread(paths[0])
    assert str(name.PatientName) not in log
    assert str(name.PatientID) not in log


def lose_a_line(stack: ExitStack, node: Node, path: Path) -> None:
    """Leave the node alone in the middle of an image, with the connection still open."""
    relay = Relay(node.port, 30_000, "freeze")
    port = stack.enter_context(relay)
    send([path], RemoteAE(node.host, port, node.ae_title, timeout=3), "SCANNER")
    assert relay.spent.is_set()


@pytest.mark.slow
def test_dead_lines_do_not_use_up_the_associations(tmp_path, lge):
    """A scanner that lost its power in the middle of an image never says good-bye."""
    settings = {"network_timeout_seconds": 3, "max_associations": 2}
    with ExitStack() as stack, Node(tmp_path / "node", node=settings) as node:
        for _ in range(2):
            lose_a_line(stack, node, lge[0])
        wait_until(node.echo, 20, "room for another association")


def test_it_ends_when_told_to_even_while_a_sender_hangs(tmp_path, lge):
    with ExitStack() as stack, Node(tmp_path / "node", node={"network_timeout_seconds": 100}) as node:
        lose_a_line(stack, node, lge[0])
        assert node.terminate(30) == 0
