"""What an earlier version took for a fault of the images, and was one of the machine, is done again at the start."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from scarnode.ledger import queries
from scarnode.ledger.redo import do_again
from scarnode.pipeline.stack import SeriesVerdict, Verdict
from tests.ledger.builders import TO_PACS, open_ledger, plan, received

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def ledger(tmp_path):
    ledger = open_ledger(tmp_path)
    ledger.studies.add_instances([received(number) for number in (1, 2, 3)])
    yield ledger
    ledger.close()


def close(ledger, problems=None, verdicts=(), plans=()):
    newest, _ = ledger.studies.study_files(1)
    ledger.studies.close_study(1, newest, verdicts, plans, problems)


@pytest.mark.parametrize(
    ("problem", "again"),
    [
        ("UNREADABLE: No such file or directory", True),
        ("UNREADABLE: Input/output error", True),
        ("UNREADABLE: Too many open files", True),
        ("UNREADABLE: Stale file handle", True),
        ("UNREADABLE: Permission denied", True),
        ("DAMAGED_HEADER: the header can not be parsed (MemoryError)", True),
        ("UNREADABLE: Is a directory", False),
        ("UNREADABLE: the file is gone from the spool", False),
        ("DAMAGED_HEADER: the header can not be parsed (ValueError)", False),
        ("TRUNCATED_PIXEL_DATA: 3 of 4 bytes", False),
    ],
)
def test_studies_with_files_that_the_machine_could_not_read_are_searched_again_once(ledger, problem, again):
    close(ledger, {"00/1.2.3.2.dcm": problem})
    assert ledger.studies.quiet_studies(0) == []
    assert do_again(ledger, TO_PACS) == (int(again), 0)
    assert ledger.studies.quiet_studies(0) == ([1] if again else [])
    if again:
        assert queries.list_unreadable(ledger) == []
        close(ledger, {"00/1.2.3.2.dcm": "UNREADABLE: the file is gone from the spool"})
        assert do_again(ledger, TO_PACS) == (0, 0)


@pytest.mark.parametrize(
    ("detail", "again"),
    [
        ("InputError: 1.dcm: UNREADABLE: No such file or directory -> check the file and its rights", True),
        ("OSError: [Errno 5] Input/output error: '/spool/00/1.dcm'", True),
        ("MemoryError: ", True),
        ("InputError: study 1: the node ended 10 times while it was searched -> Report it", False),
        ("OSError: [Errno 22] Invalid argument", False),
        ("ValueError: a bug", False),
    ],
)
def test_searches_that_the_machine_ended_are_made_again(ledger, detail, again):
    close(ledger, verdicts=[SeriesVerdict("", "(all)", Verdict.REVIEW, "SEARCH_FAILED", detail, 0, 3)])
    assert do_again(ledger, TO_PACS)[0] == int(again)


@pytest.mark.parametrize(
    ("why", "again"),
    [
        ("instance 0123456789ab: its pixels can not be decoded (FileNotFoundError) -> send the instance again", True),
        ("1.dcm: a source image can not be read any more (PermissionError) -> receive or give the study again", True),
        ("OSError: Read-only file system", True),
        ("instance 0123456789ab: its pixels can not be decoded (ValueError) -> send the instance again", False),
        ("its worker was not heard of again", False),
        ("a source image is gone from the spool: receive the study again", False),
    ],
)
def test_jobs_that_the_machine_failed_are_queued_again(ledger, why, again):
    close(ledger, plans=[plan("a")])
    ledger.jobs.fail(ledger.jobs.claim("host:0", 60), why, 3, permanent=True)
    assert do_again(ledger, TO_PACS) == (0, int(again))
    job = queries.get_job(ledger, 1)
    assert (job.state, job.attempts) == (("queued", 0) if again else ("failed", 1))


def test_a_study_whose_images_were_removed_is_left_alone(ledger):
    close(ledger, {"00/1.2.3.2.dcm": "UNREADABLE: Input/output error"})
    with ledger.store.engine.begin() as connection:
        connection.execute(text("UPDATE study SET sources_removed_at = 1"))
    assert do_again(ledger, TO_PACS) == (0, 0)
