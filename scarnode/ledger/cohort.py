"""A cohort of studies: a table of accession numbers or UIDs in, one of results out."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from scarnode import RESEARCH_USE
from scarnode.audit import Subject, subjects
from scarnode.ledger.ledger import Ledger
from scarnode.ledger.states import FINAL, JobState
from scarnode.ledger.tables import Job, Series, Study
from scarnode.util.durable import replace_durably
from scarnode.util.errors import InputError
from scarnode.util.tables import plain_text, to_csv

KEYS = {
    "study_instance_uid": ("study_instance_uid", "studyinstanceuid", "study"),
    "accession_number": ("accession_number", "accessionnumber", "accession"),
}
RESULT = (
    "found_study_instance_uid",
    "job",
    "state",
    "reason",
    "slices",
    "scar_volume_cm3",
    "myocardium_volume_cm3",
    "lge_percent",
    "flags",
    "notice",
)
"""Columns behind the cohort's own."""


@dataclass(frozen=True)
class Member:
    """A row of a cohort: what names its study, and the row as it was."""

    study_uid: str
    accession: str
    row: tuple[str, ...]


@dataclass(frozen=True)
class Cohort:
    """A table of studies."""

    columns: tuple[str, ...]
    members: tuple[Member, ...]


def read_cohort(path: Path) -> Cohort:
    """Read a CSV file with a column ``study_instance_uid`` or ``accession`` (also ``accession_number``).

    Raises
    ------
    InputError
        It can not be read, has no such column, or a row without a value in it.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"can not be read ({error})", str(path), "Give a CSV file in UTF-8") from None
    head = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=head.count)
    lines = [line for line in csv.reader(io.StringIO(text), delimiter=delimiter) if any(cell.strip() for cell in line)]
    columns = tuple(cell.strip() for cell in lines[0]) if lines else ()
    names = [name.lower().replace(" ", "_") for name in columns]
    places = {key: next((names.index(name) for name in known if name in names), None) for key, known in KEYS.items()}
    if places["study_instance_uid"] is None and places["accession_number"] is None:
        todo = "Name a column study_instance_uid or accession_number in its first line"
        raise InputError("has no column that names studies", str(path), todo)
    members = []
    for number, line in enumerate(lines[1:], 2):
        row = tuple([*line, *[""] * len(columns)][: len(columns)])
        uid, accession = ("" if at is None else plain_text(row[at].strip()) for at in places.values())
        if not (uid or accession):
            raise InputError("names no study", f"{path}, row {number}", "Fill it in, or leave the row out")
        members.append(Member(uid, accession, row))
    return Cohort(columns, tuple(members))


def studies_of(ledger: Ledger, member: Member) -> list[str]:
    """Return the Study Instance UIDs that the ledger knows for a member."""
    query = select(Study.study_instance_uid)
    if member.study_uid:
        query = query.where(Study.study_instance_uid == member.study_uid)
    else:
        query = query.where(Study.accession_number == member.accession)
    with ledger.reading() as session:
        return list(session.scalars(query.order_by(Study.id)))


def subjects_of(ledger: Ledger, cohort: Cohort) -> list[Subject]:
    """Return whose numbers the table of a cohort holds."""
    uids = [uid for member in cohort.members for uid in studies_of(ledger, member)]
    found: list[Subject] = []
    with ledger.reading() as session:
        for start in range(0, len(uids), 500):
            some = Study.study_instance_uid.in_(uids[start : start + 500])
            found += subjects(session.scalars(select(Study).where(some)).all())
    return found


def collect(
    ledger: Ledger, cohort: Cohort, troubles: Sequence[str] = (), notices: str = RESEARCH_USE
) -> tuple[list[tuple[str, ...]], int]:
    """Return the table of results, and how many studies have none yet but will.

    Parameters
    ----------
    ledger : Ledger
    cohort : Cohort
    troubles : sequence of str
        For each member why it could not be pulled; empty: it could.
    notices : str
        Stands in each row.

    Returns
    -------
    list of tuple of str
        One row for each job of a study (a study may hold several stacks), else one that says why there is none.
    int
        Studies that are still searched, analysed or sent.
    """
    table: list[tuple[str, ...]] = []
    waiting = 0
    for place, member in enumerate(cohort.members):
        uids = studies_of(ledger, member)
        if not uids:
            trouble = troubles[place] if place < len(troubles) else ""
            table.append((*member.row, "", "", "missing", trouble or "not received", *[""] * 5, notices))
        for uid in uids:
            rows, open_ = _rows(ledger, uid)
            waiting += open_
            table += [(*member.row, uid, *row, notices) for row in rows]
    return table, waiting


def _rows(ledger: Ledger, uid: str) -> tuple[list[tuple[str, ...]], bool]:
    """Return the result columns of a study, and whether more will come."""
    with ledger.reading() as session:
        study = session.scalars(select(Study).where(Study.study_instance_uid == uid)).one()
        unsearched = study.newest_instance > study.searched_instance
        jobs = session.scalars(select(Job).where(Job.study_id == study.id).order_by(Job.id)).all()
        jobs = [job for job in jobs if job.state is not JobState.SUPERSEDED]
        reasons = session.scalars(select(Series.reason).where(Series.study_id == study.id).distinct()).all()
        rows: list[tuple[str, ...]] = [
            (
                str(job.id),
                job.state.value,
                job.reason,
                str(job.slices),
                _number(job.scar_volume_cm3),
                _number(job.myocardium_volume_cm3),
                _number(job.lge_percent),
                job.flags,
            )
            for job in jobs
        ]
        if not rows:
            why = "arriving" if unsearched else "no stack: " + ", ".join(sorted(reasons))
            rows = [("", "waiting" if unsearched else "no result", why, *[""] * 5)]
        return rows, unsearched or any(job.state not in FINAL for job in jobs)


def write_results(path: Path, cohort: Cohort, table: Sequence[tuple[str, ...]]) -> None:
    """Write the table of results as CSV, whole or not at all, for its user alone: it holds patient data."""
    try:
        replace_durably(path, (to_csv((*cohort.columns, *RESULT), table).encode(),))
    except OSError as error:
        raise InputError(f"can not be written ({error.strerror})", str(path), "Name another file") from None


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
