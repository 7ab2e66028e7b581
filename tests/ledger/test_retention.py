"""What is deleted: only what was sent, oldest first, safely against a kill and against the same study coming again."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from scarnode.config import RetentionSection
from scarnode.dicom.scp import Incoming, Spool, describe
from scarnode.ledger import queries
from scarnode.ledger.model import DeliveryReport
from scarnode.ledger.retention import finish_deleting
from scarnode.ledger.task_locks import TaskLocks
from scarnode.node.postponed import PutOffs
from scarnode.node.tasks.disk_space import DiskWatch
from scarnode.node.tasks.janitor import Janitor
from scarnode.node.tasks.registrar import Registrar
from scarnode.pipeline.stack import SeriesVerdict, Verdict
from scarnode.util.disk import NO_LIMIT, FreeSpaceLimit
from scarnode.util.errors import LedgerError
from tests.harness.tools import wait_until
from tests.ledger.builders import MR_IMAGE, TO_PACS, analysed, open_ledger, plan, verdict

pytestmark = pytest.mark.usefixtures("database")

LATER = 10 * 86400.0


def element(tag: bytes, value: str) -> bytes:
    data = value.encode() + b"\0" * (len(value) % 2)
    return tag + b"UI" + len(data).to_bytes(2, "little") + data


class House:
    """Spool, results and ledger without a network or a listener."""

    def __init__(self, folder: Path, floor: FreeSpaceLimit = NO_LIMIT) -> None:
        self.results = folder / "results"
        self.results.mkdir(exist_ok=True)
        self.spool = Spool(folder / "spool", floor)
        self.ledger = open_ledger(folder)
        self.task_locks = TaskLocks(self.ledger.store.engine)
        self.disks = DiskWatch(self.ledger, self.spool, {"spool": self.spool.root, "results": self.results})

    def close(self) -> None:
        self.spool.close()
        self.ledger.close()

    def store(self, number: int, study: str = "1.2.3") -> Path:
        dataset = element(b"\x20\x00\x0d\x00", study) + element(b"\x20\x00\x0e\x00", f"{study}.0")
        uid = f"{study}.{number}"
        return self.spool.store(Incoming(MR_IMAGE, uid, "1.2.840.10008.1.2.1", "SCANNER", "SCARNODE", dataset))

    def receive(self, numbers=range(1, 4), study: str = "1.2.3") -> list[Path]:
        paths = [self.store(number, study) for number in numbers]
        self.ledger.studies.add_instances([describe(self.spool.root, path) for path in paths])
        return paths

    def search(self, *plans, verdicts=None) -> None:
        for study in self.ledger.studies.quiet_studies(0):
            newest, _ = self.ledger.studies.study_files(study)
            self.ledger.studies.close_study(study, newest, verdicts or [verdict()], plans)

    def run(self, key: str) -> None:
        claimed = self.ledger.jobs.claim("host:0", 60)
        (self.results / key).mkdir()
        for kind in ("seg", "sr", "sc"):
            (self.results / key / f"{kind}.dcm").write_bytes(b"result")
        self.ledger.jobs.finish(claimed, analysed(key), TO_PACS)

    def deliver(self, sent=True, commit=False) -> int:
        due = self.ledger.deliveries.due_deliveries("pacs")
        self.ledger.deliveries.report_deliveries(
            [DeliveryReport(one.id, sent, "as it went", None, commit) for one in due]
        )
        return len(due)

    def clean(self, sources_days=1.0, results_days=1.0, later=LATER, **settings) -> None:
        """Let the janitor look, some days later."""
        settings = RetentionSection(sources_days=sources_days, results_days=results_days, **settings)
        janitor = Janitor(self.ledger, self.spool, self.results, self.disks, settings, self.task_locks)
        janitor._before = lambda days: time.time() + later - days * 86400 if days else None
        janitor.look()

    def files(self) -> tuple[int, int]:
        return len(list(self.spool)), len(list(self.results.rglob("*.dcm")))


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path)
    yield house
    house.close()


def delivered(house, key="a", study="1.2.3"):
    house.receive(study=study)
    house.search(plan(key))
    house.run(key)
    house.deliver()


def test_what_was_delivered_goes_when_it_is_old_enough_and_its_rows_stay(house):
    delivered(house)
    house.clean(later=0.5 * 86400)
    assert house.files() == (3, 3)
    house.clean()
    assert house.files() == (0, 0)
    job = queries.get_job(house.ledger, 1)
    assert job.state == "done"
    assert job.sources_removed_at == pytest.approx(time.time(), abs=60)
    assert job.results_removed_at == pytest.approx(time.time(), abs=60)
    story = [event.why for event in queries.list_events(house.ledger, 1)]
    assert any("3 images" in why and "removed from this machine: kept long enough" in why for why in story)
    assert any("its results removed" in why for why in story)
    assert len(queries.list_deliveries(house.ledger, 1)) == 3
    house.clean()
    assert [event.why for event in queries.list_events(house.ledger, 1)] == story, "removed twice"


def test_images_and_results_have_ages_of_their_own_and_0_keeps_for_ever(house):
    delivered(house)
    house.clean(sources_days=0, results_days=0)
    assert house.files() == (3, 3)
    house.clean(sources_days=3, results_days=30)
    assert house.files() == (0, 3)
    assert house.ledger.jobs.retry(1, TO_PACS).value == "delivering"  # results are there: they can be sent again


STATES = [
    "received",
    "queued",
    "running",
    "held",
    "failed",
    "delivering",
    "not sent",
    "not committed",
    "nobody takes it",
    "unread",
]


@pytest.mark.parametrize("state", STATES)
def test_nothing_goes_that_is_not_through(house, state):
    house.receive()
    if state == "unread":
        house.search(verdicts=[SeriesVerdict("1.2.3", "", Verdict.REVIEW, "SEARCH_FAILED", "", 0, 3)])
    elif state != "received":
        house.search(plan("a"))
    if state in ("running", "failed"):
        claimed = house.ledger.jobs.claim("host:0", 60)
        if state == "failed":
            house.ledger.jobs.fail(claimed, "no", 1)
    elif state == "held":
        house.ledger.jobs.finish(house.ledger.jobs.claim("host:0", 60), analysed("a", ("X",)), TO_PACS, ("X",))
    elif state == "nobody takes it":
        house.ledger.jobs.finish(house.ledger.jobs.claim("host:0", 60), analysed("a"), {})
    elif state in ("delivering", "not sent", "not committed"):
        house.run("a")
        if state != "delivering":
            house.deliver(sent=state == "not committed", commit=True)
    before = house.files()
    house.clean(free_when_full=True)
    assert house.files() == before
    assert before[0] == 3


def test_a_study_with_nothing_for_us_goes_too(house):
    house.receive()
    house.search(verdicts=[verdict(accepted=False)])
    house.clean()
    assert house.files() == (0, 0)


def test_one_unfinished_job_keeps_the_whole_study(house):
    delivered(house)
    house.receive(range(4, 7))
    house.search(plan("b", range(4, 7)))
    house.clean()
    assert house.files() == (6, 3)


def test_sent_again_after_its_removal_it_is_analysed_and_sent_again(house):
    """The key, and so every UID, is the same: an archive that has the objects knows them."""
    delivered(house)
    house.clean()
    house.receive()
    house.search(plan("a"))
    assert queries.get_job(house.ledger, 1).state == "queued"
    assert queries.get_job(house.ledger, 1).sources_removed_at is None
    house.run("a")
    assert house.deliver() == 3
    [job] = queries.list_jobs(house.ledger)
    assert (job.state, job.results_removed_at) == ("done", None)
    assert len(queries.list_deliveries(house.ledger, 1)) == 3
    assert house.files() == (3, 3)
    house.clean()
    assert house.files() == (0, 0)


def test_with_its_results_still_here_the_job_stands(house):
    delivered(house)
    house.clean(results_days=0)
    house.receive()
    assert len(house.ledger.studies.study_files(1)[1]) == 3
    house.search(plan("a"))
    assert queries.get_job(house.ledger, 1).state == "done"
    assert house.files() == (3, 3)


def test_removed_images_are_no_part_of_a_later_search(house):
    delivered(house)
    house.clean()
    house.receive([4])
    assert len(house.ledger.studies.quiet_studies(0)) == 1
    newest, paths = house.ledger.studies.study_files(1)
    assert len(paths) == 1
    house.ledger.studies.close_study(1, newest, [verdict()], [])
    assert house.ledger.studies.quiet_studies(0) == []


def test_a_person_who_wants_removed_results_again_is_told_how(house):
    delivered(house)
    house.clean()
    with pytest.raises(LedgerError, match="removed from this machine -> Send the study again"):
        house.ledger.jobs.retry(1, TO_PACS)
    house.receive()
    house.search(plan("a"))
    house.ledger.jobs.fail(house.ledger.jobs.claim("host:0", 60), "no", 1)
    assert house.ledger.jobs.retry(1, TO_PACS).value == "queued"


def test_an_image_that_comes_again_while_it_is_removed_stays(house, monkeypatch):
    """Stored and answered with Success, but not yet in the ledger, when the janitor deletes the study."""
    delivered(house)
    mark = house.ledger.retention.mark_removed

    def marked(*arguments):
        time.sleep(0.02)  # the file system's clock moves on
        before = house.store(1)
        removal = mark(*arguments)
        after = house.store(2)
        monkeypatch.undo()
        house.ledger.again = [before, after]
        return removal

    monkeypatch.setattr(house.ledger.retention, "mark_removed", marked)
    house.clean()
    again = house.ledger.again
    assert sorted(house.spool) == sorted(again)
    house.ledger.studies.add_instances([describe(house.spool.root, path) for path in again])
    assert len(house.ledger.studies.study_files(1)[1]) == 2
    assert len(house.ledger.studies.quiet_studies(0)) == 1


def test_oldest_first_and_no_more_than_needed_when_the_disk_is_near_full(tmp_path, monkeypatch):
    house = House(tmp_path, FreeSpaceLimit(1, 1e9))
    for number in range(1, 5):
        study = f"1.2.{number}"
        house.receive(study=study)
        house.search(verdicts=[verdict(accepted=False)])
    gone_when_enough = [True, True, False]
    monkeypatch.setattr(house.disks, "near_full", lambda name: name == "spool" and gone_when_enough.pop(0))
    house.clean(0, 0, free_when_full=True)
    left = {describe(house.spool.root, path).study_instance_uid for path in house.spool}
    assert left == {"1.2.3", "1.2.4"}
    house.close()


KILLED = """
import os, signal, sys
from pathlib import Path
from scarnode.dicom.scp import Spool
from tests.ledger.test_retention import House
from scarnode.ledger import retention

def clean(folder, after):
    house, remove, rmtree, count = House(folder), Spool.remove, retention.shutil.rmtree, [0]
    def step():
        if count[0] == after:
            os.kill(os.getpid(), signal.SIGKILL)
        count[0] += 1
    def killed(*arguments):
        step()
        return remove(*arguments)
    def cut(*arguments, **options):
        step()
        return rmtree(*arguments, **options)
    Spool.remove, retention.shutil.rmtree = killed, cut
    house.clean()

for line in sys.stdin:
    after, folder = line.rstrip().split(" ", 1)
    child = os.fork()  # each a process of its own, with one import for all
    if not child:
        clean(Path(folder), int(after))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def clean_and_be_killed() -> Iterator[Callable[[Path, int], int]]:
    """Have a process delete a node's files and be killed after so many of them; gives its exit code."""
    root = Path(__file__).resolve().parent.parent.parent
    command, environment = [sys.executable, "-c", KILLED], {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def run(folder: Path, after: int) -> int:
            print(after, folder, file=process.stdin, flush=True)
            return int(process.stdout.readline())

        yield run


@pytest.mark.parametrize("after", range(4))
@pytest.mark.parametrize("again", [False, True])
def test_killed_between_marking_and_deleting_it_is_finished_at_the_next_start(
    tmp_path, clean_and_be_killed, after, again
):
    house = House(tmp_path)
    delivered(house)
    house.close()
    assert clean_and_be_killed(tmp_path, after) == -signal.SIGKILL
    house = House(tmp_path)
    assert len(list(house.spool)) == 3 - min(after, 3)
    if again:  # the sender was quicker than our restart
        house.store(3)
    registrar = Registrar(house.ledger, house.spool)
    finish_deleting(house.ledger.retention, house.results)
    found = registrar.recover()
    assert (found, *house.files()) == ((1, 1, 0) if again else (0, 0, 0))
    if again:
        wait_until(lambda: house.ledger.studies.quiet_studies(0), 10, "the image that came again")
        assert len(house.ledger.studies.study_files(1)[1]) == 1
    registrar.stop()
    house.close()


@pytest.mark.parametrize("folder", ["spool", "results"])
def test_nothing_is_marked_as_deleted_on_a_disk_that_is_away(house, tmp_path, folder):
    delivered(house)
    root = {"spool": house.spool.root, "results": house.results}[folder]
    root.rename(tmp_path / "away")
    house.clean()
    assert queries.get_job(house.ledger, 1).sources_removed_at is None
    (tmp_path / "away").rename(root)
    house.clean()
    assert house.files() == (0, 0)


def test_a_file_that_can_not_be_deleted_now_is_deleted_later(house, monkeypatch):
    delivered(house)
    real, put_offs = house.spool.remove, PutOffs()
    calls = []

    def remove(path, at):
        calls.append(path)
        if len(calls) == 2:
            raise OSError(errno.EROFS, "Read-only file system")
        return real(path, at)

    monkeypatch.setattr(house.spool, "remove", remove)
    settings = RetentionSection(sources_days=1.0, results_days=1.0)
    janitor = Janitor(house.ledger, house.spool, house.results, house.disks, settings, house.task_locks, None, put_offs)
    janitor._before = lambda days: time.time() + LATER - days * 86400 if days else None
    janitor.look()
    assert house.files() == (1, 0)
    assert put_offs.in_words() == "put off by faults of the system: 1 (deletion of study 1: Read-only file system)"
    wait_until(lambda: janitor.look() or house.files() == (0, 0), 5, "the other look")
    assert put_offs.in_words() == ""


def alarms(house):
    return {row.name: row.detail for row in queries.list_alarms(house.ledger)}


@pytest.mark.parametrize("folder", ["spool", "results"])
def test_a_folder_that_is_away_has_an_alarm_until_it_is_back(house, tmp_path, folder):
    root = {"spool": house.spool.root, "results": house.results}[folder]
    house.disks.look()
    assert alarms(house) == {}
    root.rename(tmp_path / "away")
    house.disks.look()
    assert alarms(house) == {f"absent_{folder}": f"{root}: No such file or directory"}
    assert house.disks.work_waits()
    root.mkdir()  # an empty mount point
    house.disks.look()
    assert list(alarms(house)) == [f"absent_{folder}"]
    assert "another folder lies in its place" in house.disks.away()
    root.rmdir()
    (tmp_path / "away").rename(root)
    house.disks.look()
    assert alarms(house) == {}
    assert not house.disks.work_waits()


def test_queued_jobs_say_that_a_disk_is_away(house, tmp_path):
    house.receive()
    house.search(plan("a"))
    house.results.rename(tmp_path / "away")
    house.disks.look()
    assert queries.get_job(house.ledger, 1).reason == "waits for a disk that is away: see scarnode alarms"
    (tmp_path / "away").rename(house.results)
    house.disks.look()
    assert queries.get_job(house.ledger, 1).reason == "the disk is there again"


def test_a_full_disk_has_an_alarm_without_a_floor_too(house, monkeypatch):
    free = [0]
    status = SimpleNamespace(f_blocks=250_000, f_frsize=4096, f_files=1000, f_favail=500)
    monkeypatch.setattr(os, "statvfs", lambda folder: SimpleNamespace(**vars(status), f_bavail=free[0]))
    house.disks.look()
    assert list(alarms(house)) == ["disk_spool"]
    free[0] = 100_000
    house.disks.look()
    assert alarms(house) == {}
    status.f_favail = 0  # no inode
    house.disks.look()
    assert alarms(house) == {"disk_spool": "spool, results: no file can be made any more (inodes)"}
