"""The options that select jobs and series, and the filters made from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from scarnode.cli.dates import days, moment
from scarnode.util.errors import ScarnodeError

if TYPE_CHECKING:
    from scarnode.ledger.queries import JobFilter, SeriesFilter

PatientOption = Annotated[str, typer.Option(help="Patient ID.")]
AccessionOption = Annotated[str, typer.Option(help="Accession number.")]
StudyOption = Annotated[str, typer.Option(help="Study Instance UID.")]
DateOption = Annotated[str, typer.Option(help="Study date: a day, or a span of days, e.g. 20261101-20261120.")]
SinceOption = Annotated[str, typer.Option(help="First image received since: a day, '2026-11-20 14:30', 30min, 2h, 7d.")]
UntilOption = Annotated[str, typer.Option(help="First image received until: the same; a day counts to its end.")]
CallingOption = Annotated[str, typer.Option(help="AE title that sent the study.")]
StateOption = Annotated[str, typer.Option(help="queued, running, delivering, done, failed, held or superseded.")]
VerdictOption = Annotated[str, typer.Option(help="accepted, review or rejected.")]
ReasonOption = Annotated[str, typer.Option(help="Reason code, e.g. CINE (docs/recognition.md).")]
LimitOption = Annotated[int, typer.Option(min=1, help="Most rows to list.")]


def job_filter(
    patient: str, accession: str, study: str, date: str, since: str, until: str, calling_ae: str, state: str
) -> JobFilter:
    """Read the options of `jobs list` and `jobs export`."""
    from scarnode.ledger import JobState
    from scarnode.ledger.queries import JobFilter

    _one_of(state, "--state", [known.value for known in JobState])
    return JobFilter(**_study(patient, accession, study, date, since, until, calling_ae), state=state)


def series_filter(
    series: str,
    patient: str,
    accession: str,
    study: str,
    date: str,
    since: str,
    until: str,
    calling_ae: str,
    verdict: str,
    reason: str,
) -> SeriesFilter:
    """Read the options of `series list` and `series show`."""
    from scarnode.ledger.queries import SeriesFilter
    from scarnode.pipeline.stack import REASONS, Verdict

    _one_of(verdict, "--verdict", [known.value for known in Verdict])
    _one_of(reason, "--reason", list(REASONS))
    wanted = _study(patient, accession, study, date, since, until, calling_ae)
    return SeriesFilter(**wanted, series=series, verdict=verdict, reason=reason)


def _study(patient: str, accession: str, study: str, date: str, since: str, until: str, calling_ae: str) -> dict:
    first, last = days(date)
    return {
        "patient": patient,
        "accession": accession,
        "study": study,
        "calling_ae": calling_ae,
        "study_date_from": first,
        "study_date_to": last,
        "since": moment(since, "--since"),
        "until": moment(until, "--until", end=True),
    }


def _one_of(value: str, option: str, known: list[str]) -> None:
    if value and value not in known:
        raise ScarnodeError(f"there is no {value!r}", option, f"One of: {', '.join(known)}")
