"""At the start: what earlier versions took for a fault of the images, and was one of the machine, is done again."""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Mapping, Sequence

from sqlalchemy import exists, select

from scarnode.ledger.ledger import Ledger
from scarnode.ledger.model import FAILURE
from scarnode.ledger.states import JobState
from scarnode.ledger.tables import UNREADABLE, Instance, Job, Result, Series, Study
from scarnode.util.errors import OF_THE_FILE

log = logging.getLogger(__name__)

WORDS = sorted({os.strerror(number) for number in errno.errorcode if number not in OF_THE_FILE})
"""What the system says of itself."""

_ERRORS = ("MemoryError", "OSError", *(kind.__name__ for kind in OSError.__subclasses__()))
_WORDS = "|".join(map(re.escape, WORDS))
_KINDS = "|".join(_ERRORS)
SYSTEMS_FAULT = re.compile(
    rf"UNREADABLE: ({_WORDS})( |$)"
    rf"|({_KINDS}): ({_WORDS})( |$)"
    rf"|\(({_KINDS})\)"
    rf"|^MemoryError"
    rf"|\[Errno (?!({'|'.join(map(str, sorted(OF_THE_FILE)))})\])\d+\]"
)
"""How earlier versions wrote a fault of the system down. This one writes none of it: it puts off."""


def do_again(ledger: Ledger, destinations: Mapping[str, Sequence[str]]) -> tuple[int, int]:
    """Mark studies to be searched again, and failed jobs to be run again, that a fault of the machine had ended for
    good.

    Parameters
    ----------
    ledger : Ledger
    destinations : mapping of str to sequence of str
        As of `scarnode.ledger.jobs.Jobs.retry`.

    Returns
    -------
    int, int
        Studies and jobs.
    """
    studies, jobs = _studies(ledger), _jobs(ledger)
    ledger.studies.search_again(studies, "searched again: a fault of the system had kept images from being read")
    for job in jobs:
        ledger.jobs.retry(job, destinations)
    if studies or jobs:
        log.warning(
            "faults of the system had ended them: %d studies and %d jobs are done again", len(studies), len(jobs)
        )
    return len(studies), len(jobs)


def _studies(ledger: Ledger) -> list[int]:
    files = select(Instance.study_id, Instance.problem).where(UNREADABLE, Instance.removed_at.is_(None))
    series = select(Series.study_id, Series.detail).where(Series.reason.in_(("SEARCH_FAILED", "CORRECTION_REFUSED")))
    there = select(Study.id).where(Study.sources_removed_at.is_(None))
    found: set[int] = set()
    with ledger.reading() as session:
        for query in (files.where(Instance.study_id.in_(there)), series.where(Series.study_id.in_(there))):
            rows = session.execute(query)
            found.update(study for study, text in rows if study is not None and SYSTEMS_FAULT.search(text))
    return sorted(found)


def _jobs(ledger: Ledger) -> list[int]:
    result = exists().where(Result.job_id == Job.id, ~Result.kind.startswith(FAILURE))
    query = select(Job.id, Job.reason).where(Job.state == JobState.FAILED, ~result).order_by(Job.id)
    with ledger.reading() as session:
        return [job for job, reason in session.execute(query) if SYSTEMS_FAULT.search(reason)]
