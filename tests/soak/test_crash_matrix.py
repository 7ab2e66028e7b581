"""SIGKILL at every step of the walk: of the node, of a worker and of the PACS, with real peers on both sides."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.harness.audit import SC, SEG, SR, audit, check_folders, check_ledger
from tests.harness.dcmtk import storescu
from tests.harness.ledger import jobs, query, wait_for_jobs
from tests.harness.node import Node
from tests.harness.orthanc import Orthanc
from tests.harness.peers import Relay
from tests.harness.senders import Scanner, Sent, Study, send_by_dcmtk, send_by_pynetdicom, small_studies
from tests.harness.strace import signal_at, wait_for_stop, workers
from tests.harness.tools import wait_until
from tests.harness.viewer import edited, save

PATIENT_NODE = {
    # a small phantom's flags must not stop its result; a worker is killed more often than an input would kill it
    "study": {"quiet_seconds": 1.5, "hold_flags": "NONE"},
    "segment": {"device": "cpu", "workers": 1, "threads": 1, "max_attempts": 50},
    "deliver": {"first_delay_seconds": 0.5, "max_delay_seconds": 1},
}
RENAME = "/^rename"


class Scene:
    """A node, an Orthanc and scanners that do not give up.

    Attributes
    ----------
    sent : list of Sent
        What was answered with Success, by now.
    studies : list of Study
        What was sent, by now.
    """

    def __init__(self, folder: Path) -> None:
        self.orthanc = Orthanc(folder / "orthanc")
        # Python renames what it compiles: signal_at would count that
        quiet_python = {"PYTHONDONTWRITEBYTECODE": "1"}
        self.node = Node(folder / "node", {"pacs": self.orthanc}, quiet_python, **PATIENT_NODE)
        self.quiet = PATIENT_NODE["study"]["quiet_seconds"]
        self.sent: list[Sent] = []
        self.studies: list[Study] = []
        self._sources: dict[bool, Iterator[Study]] = {
            True: small_studies(folder / "good", f"good-{folder}"),
            False: small_studies(folder / "bad", f"bad-{folder}", unreadable_every=1),
        }
        self._scanner: Scanner | None = None

    def up(self) -> None:
        """Start whatever is down."""
        if not self.orthanc.running:
            self.orthanc.start()
        if not self.node.running:
            self.node.start()

    def study(self, readable: bool = True) -> Study:
        """Give a new study."""
        study = next(self._sources[readable])
        self.studies.append(study)
        return study

    def scan(self, study: Study, send: Callable = send_by_dcmtk) -> None:
        """Let a scanner begin to send a study, over and over until all of it is accepted."""
        self._scanner = Scanner(self.node, iter([study]), send)
        self._scanner.start()

    def received(self, study: Study) -> None:
        """Wait until the scanner is through and the ledger knows all images."""
        assert self._scanner is not None
        self._scanner.end(120)
        wait_until(lambda: self.registered(study) == len(study.paths), 20, "the images in the ledger")

    def registered(self, study: Study) -> int:
        """Count the study's images in the ledger."""
        [row] = query(
            self.node.ledger_path,
            "SELECT count(*) AS n FROM instance JOIN study ON study.id = study_id WHERE study_instance_uid = ?",
            (study.uid,),
        ) or [{"n": 0}]
        return row["n"]

    def job(self, study: Study, *states: str) -> dict:
        """Wait until the study has a job in one of these states."""

        def there() -> dict | None:
            return next((job for job in jobs(self.node.ledger_path, study.uid) if job["state"] in states), None)

        return wait_until(there, 60, f"a job that is {states}", poll=0.01)

    def worker(self) -> int:
        """Give the process id of the node's worker."""
        return wait_until(lambda: workers(self.node.pid), 20, "a worker")[0]

    def settle(self) -> None:
        """Wait until there is nothing more to do, and hold everything to account."""
        assert self._scanner is not None
        self._scanner.end(120)
        self.sent += self._scanner.sent
        for study in self.studies[-1:]:
            wait_for_jobs(self.node.ledger_path, study.uid, timeout=120)
            if not study.readable:
                self.orthanc.wait_for(2, 30, study.uid)
        audit(self.node, self.orthanc, self.sent, self.studies)

    def close(self) -> None:
        """End everything."""
        self.node.kill()
        self.orthanc.kill()


@contextmanager
def scene_in(folder: Path) -> Iterator[Scene]:
    scene = Scene(folder)
    try:
        yield scene
    finally:
        scene.close()


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Iterator[Scene]:
    with scene_in(tmp_path_factory.mktemp("scene")) as scene:
        yield scene


def spooled(scene: Scene) -> int:
    return len(list(scene.node.spool.glob("*/*.dcm")))


def partial(scene: Scene) -> list[Path]:
    return list((scene.node.spool / "partial").iterdir())


# -- receiving --------------------------------------------------------------------------------------------------------


def in_the_middle_of_a_pdu(scene: Scene) -> None:
    study, before = scene.study(), spooled(scene)
    relay = Relay(scene.node.port, after=15_000, then="freeze")  # an association request and one image and a half
    with relay as port:
        arguments = ("127.0.0.1", port, study.paths, scene.node.ae_title)
        sender = threading.Thread(target=storescu, args=arguments, kwargs={"options": ["-td", "3"]}, daemon=True)
        sender.start()
        assert relay.spent.wait(20)
        time.sleep(0.3)
        scene.node.kill()
        sender.join(20)
    assert spooled(scene) <= before + 1
    scene.scan(study)


def before_the_file_has_its_name(scene: Scene) -> None:
    before = spooled(scene)
    with signal_at(scene.node.pid, RENAME):
        scene.scan(scene.study(), send_by_pynetdicom)
        scene.node.wait(90)
    assert len(partial(scene)) == 1
    assert spooled(scene) == before


def before_the_file_is_on_disk(scene: Scene) -> None:
    before = set(scene.node.spool.glob("*/*.dcm"))
    with signal_at(scene.node.pid, "fsync"):
        scene.scan(scene.study())
        scene.node.wait(90)
    assert partial(scene) == []
    [unsynced] = set(scene.node.spool.glob("*/*.dcm")) - before
    os.truncate(unsynced, unsynced.stat().st_size // 2)  # a kill keeps what a power cut may lose


def before_the_second_file_is_on_disk(scene: Scene) -> None:
    before = spooled(scene)
    with signal_at(scene.node.pid, "fsync", when=2):
        scene.scan(scene.study())
        scene.node.wait(90)
    assert partial(scene) == []
    assert spooled(scene) == before + 2


def between_spool_and_ledger(scene: Scene) -> None:
    study = scene.study()
    with signal_at(scene.node.pid, "pwrite64", path=wal(scene)):
        scene.scan(study, send_by_pynetdicom)
        scene.node.wait(90)
    assert scene.registered(study) == 0
    assert scene._scanner.sent, "at least one image had been accepted"


def wal(scene: Scene) -> Path:
    return scene.node.ledger_path.with_name("ledger.sqlite-wal")


# -- assembling -------------------------------------------------------------------------------------------------------


def while_the_study_is_searched(scene: Scene) -> None:
    study = scene.study()
    scene.scan(study)
    scene.received(study)
    [first, *_] = query(
        scene.node.ledger_path,
        "SELECT path FROM instance JOIN study ON study.id = study_id WHERE study_instance_uid = ?",
        (study.uid,),
    )
    with signal_at(scene.node.pid, "openat", path=scene.node.spool / first["path"]):
        scene.node.wait(90)
    assert jobs(scene.node.ledger_path, study.uid) == []


def while_what_was_found_is_written(scene: Scene) -> None:
    study = scene.study()
    scene.scan(study)
    scene.received(study)
    with signal_at(scene.node.pid, "pwrite64", path=wal(scene), when=2):
        scene.node.wait(90)
    assert jobs(scene.node.ledger_path, study.uid) == []


# -- running and building ---------------------------------------------------------------------------------------------


def node_and_worker_while_running(scene: Scene) -> None:
    study = scene.study()
    scene.scan(study)
    scene.job(study, "running")
    time.sleep(0.2)
    scene.node.kill()
    assert [job["state"] for job in jobs(scene.node.ledger_path, study.uid)] == ["running"]


def node_alone_while_running(scene: Scene) -> None:
    study = scene.study()
    scene.scan(study)
    scene.job(study, "running")
    worker = scene.worker()
    scene.node.kill(group=False)
    wait_until(lambda: not Path(f"/proc/{worker}").exists(), 5, "the end of a worker whose node is gone")


def worker_while_running(scene: Scene) -> None:
    study = scene.study()
    scene.scan(study)
    scene.job(study, "running")
    os.kill(scene.worker(), signal.SIGKILL)


def worker_between_the_result_files(scene: Scene) -> None:
    study = scene.study()
    worker = scene.worker()
    with signal_at(worker, RENAME, when=2):
        scene.scan(study)
        wait_until(lambda: not Path(f"/proc/{worker}").exists(), 60, "the end of the worker")


def everything_between_the_result_files(scene: Scene) -> None:
    study = scene.study()
    worker = scene.worker()
    with signal_at(worker, RENAME, signal="STOP"):  # unlike SIGKILL, it strikes when the call is done
        scene.scan(study)
        wait_for_stop(worker, "the first result file", 90)
        [job] = jobs(scene.node.ledger_path, study.uid)
        held = sorted(path.name for path in (scene.node.results / job["key"]).glob("*.dcm"))
        scene.node.kill()
    assert held == ["seg.dcm"]


def after_the_results_before_the_ledger(scene: Scene) -> None:
    study = scene.study()
    worker = scene.worker()
    with signal_at(worker, "fsync", when=7, signal="STOP"):
        scene.scan(study)
        wait_for_stop(worker, "the last result file", 90)
    with signal_at(scene.node.pid, "pwrite64", path=wal(scene)):
        os.kill(worker, signal.SIGCONT)
        scene.node.wait(90)
    [job] = jobs(scene.node.ledger_path, study.uid)
    assert job["state"] == "running"
    assert len(list((scene.node.results / job["key"]).glob("*.dcm"))) == 3


# -- delivering -------------------------------------------------------------------------------------------------------


def stopped_as_it_sends(scene: Scene, study: Study, kind: str) -> None:
    """Bring the node to where it has opened an object to send it: what is sent before it was answered."""
    worker = frozen_worker(scene, study)
    [job] = jobs(scene.node.ledger_path, study.uid)
    path = scene.node.results / job["key"] / f"{kind}.dcm"
    # the first look is at the meta information of all three, before the association
    with signal_at(scene.node.pid, "openat", path=path, when=2, signal="STOP"):
        os.kill(worker, signal.SIGCONT)
        wait_for_stop(scene.node.pid, f"the sending of the {kind}", 90)


def frozen_worker(scene: Scene, study: Study) -> int:
    """Stop the worker as it runs the study's job, so that what comes next can be prepared; gives its process id."""
    scene.job(study, "running")
    worker = scene.worker()
    os.kill(worker, signal.SIGSTOP)
    return worker


def node_between_seg_and_sr(scene: Scene) -> None:
    study = scene.study()
    scene.scan(study)
    stopped_as_it_sends(scene, study, "sr")
    scene.node.kill()
    assert [dataset.SOPClassUID for dataset in scene.orthanc.instances(study.uid)] == [SEG]


def archive_between_seg_and_sr(scene: Scene) -> None:
    study = scene.study()
    scene.scan(study)
    stopped_as_it_sends(scene, study, "sr")
    scene.orthanc.kill()
    os.kill(scene.node.pid, signal.SIGCONT)
    wait_until(lambda: "Next try" in str(deliveries(scene, study)), 30, "the failed try")
    assert [row["state"] for row in deliveries(scene, study)] == ["sent", "pending", "pending"]


def archive_as_it_stores(scene: Scene) -> None:
    study = scene.study()
    scene.scan(study)
    worker = frozen_worker(scene, study)
    with signal_at(scene.orthanc.pid, "fsync,fdatasync,pwrite64", when=3):
        os.kill(worker, signal.SIGCONT)
        wait_until(lambda: not scene.orthanc.running, 60, "the end of Orthanc")


def after_delivery_before_the_ledger(scene: Scene) -> None:
    study = scene.study()
    scene.scan(study)
    stopped_as_it_sends(scene, study, "sc")
    with signal_at(scene.node.pid, "pwrite64", path=wal(scene)):
        os.kill(scene.node.pid, signal.SIGCONT)
        scene.node.wait(90)
    assert len(scene.orthanc.instances(study.uid)) == 3
    assert {row["state"] for row in deliveries(scene, study)} == {"pending"}


def deliveries(scene: Scene, study: Study) -> list[dict]:
    return query(
        scene.node.ledger_path,
        "SELECT delivery.* FROM delivery JOIN job ON job.id = job_id JOIN study ON study.id = study_id"
        " WHERE study_instance_uid = ? ORDER BY delivery.id",
        (study.uid,),
    )


# -- a report of a failure --------------------------------------------------------------------------------------------


def between_the_files_of_a_failure_report(scene: Scene) -> None:
    study = scene.study(readable=False)
    scene.scan(study)
    scene.received(study)
    with signal_at(scene.node.pid, RENAME, when=2):
        scene.node.wait(90)
    [job] = jobs(scene.node.ledger_path, study.uid)
    assert job["state"] == "failed"
    assert len(list((scene.node.results / job["key"] / "failed").glob("*.dcm"))) == 1


def between_failure_report_and_ledger(scene: Scene) -> None:
    study = scene.study(readable=False)
    scene.scan(study)
    scene.received(study)
    with signal_at(scene.node.pid, "fsync", when=6, signal="STOP"):  # two folders; two files, each with its folder
        wait_for_stop(scene.node.pid, "the last file of the report", 90)
    with signal_at(scene.node.pid, "pwrite64", path=wal(scene)):
        os.kill(scene.node.pid, signal.SIGCONT)
        scene.node.wait(90)
    assert deliveries(scene, study) == []


STEPS = [
    in_the_middle_of_a_pdu,
    before_the_file_has_its_name,
    before_the_file_is_on_disk,
    before_the_second_file_is_on_disk,
    between_spool_and_ledger,
    while_the_study_is_searched,
    while_what_was_found_is_written,
    node_and_worker_while_running,
    node_alone_while_running,
    worker_while_running,
    worker_between_the_result_files,
    everything_between_the_result_files,
    after_the_results_before_the_ledger,
    node_between_seg_and_sr,
    archive_between_seg_and_sr,
    archive_as_it_stores,
    after_delivery_before_the_ledger,
    between_the_files_of_a_failure_report,
    between_failure_report_and_ledger,
]


@pytest.mark.slow
def test_a_few_kills_lose_nothing_and_double_nothing(tmp_path):
    """What runs by default: a kill while receiving, one while running, one of node and archive while delivering."""
    with scene_in(tmp_path) as scene:
        scene.up()
        study = scene.study()
        first = send_by_dcmtk(scene.node, study.paths[:2])
        assert len(first) == 2
        scene.node.kill()
        time.sleep(scene.quiet + 0.5)  # no scanner can send in that time, and the study is not complete
        scene.up()
        scene.scan(study)
        scene.job(study, "running")
        scene.node.kill()
        scene.up()
        stopped_as_it_sends(scene, study, "sr")
        scene.orthanc.kill()
        scene.node.kill()
        scene.up()
        scene.settle()


@pytest.mark.soak
@pytest.mark.parametrize("step", STEPS, ids=[step.__name__ for step in STEPS])
def test_a_kill_at_this_step_loses_nothing_and_doubles_nothing(scene, step):
    scene.up()
    step(scene)
    scene.up()
    scene.settle()


@pytest.mark.soak
@pytest.mark.parametrize("renames", [1, 2, 3], ids=["after the case", "after the SR", "after the SC"])
def test_a_kill_while_a_correction_is_measured(tmp_path, renames):
    with scene_in(tmp_path) as scene:
        scene.up()
        study = scene.study()
        scene.scan(study)
        scene.settle()
        [seg] = [dataset for dataset in scene.orthanc.instances(study.uid) if dataset.SOPClassUID == SEG]
        path = save(edited(seg, without_one_voxel), tmp_path / "edited.dcm")
        worker = scene.worker()
        with signal_at(worker, RENAME, when=renames, signal="STOP"):
            sent = storescu("127.0.0.1", scene.node.port, [path], scene.node.ae_title, options=["-R"])
            assert sent.returncode == 0
            wait_for_stop(worker, "a file of the correction", 90)
            scene.node.kill()
        scene.up()
        corrected = wait_until(lambda: ended_corrections(scene, study), 120, "the correction")
        assert [job["state"] for job in corrected] == ["done"]
        held = Counter(dataset.SOPClassUID for dataset in scene.orthanc.instances(study.uid))
        assert held == {SEG: 1, SR: 2, SC: 2}
        [case] = (scene.node.results / "corrections").glob("*")
        with np.load(case) as arrays:
            assert (arrays["label"] != arrays["network_label"]).sum() == 1
        check_folders(scene.node)
        check_ledger(scene.node)


def without_one_voxel(labels: dict[str, np.ndarray]) -> None:
    label = max(labels.values(), key=np.count_nonzero)
    label[tuple(np.argwhere(label)[0])] = 0


def ended_corrections(scene: Scene, study: Study) -> list[dict]:
    found = [job for job in jobs(scene.node.ledger_path, study.uid) if job["origin"] == "correction"]
    return found if all(job["state"] in ("done", "failed", "superseded") for job in found) else []
