"""`scarnode jobs`: the jobs and their results."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from scarnode import RESEARCH_USE
from scarnode.cli.common import (
    CONFIG,
    ConfigOption,
    JsonOption,
    exporting,
    facts,
    listing,
    number,
    open_ledger,
    out,
    person_of,
    plain,
    print_error,
    print_json,
    record_access,
    show,
    time_of,
)
from scarnode.cli.filters import (
    AccessionOption,
    CallingOption,
    DateOption,
    LimitOption,
    PatientOption,
    SinceOption,
    StateOption,
    StudyOption,
    UntilOption,
    job_filter,
)
from scarnode.util.clock import span
from scarnode.util.durable import replace_durably
from scarnode.util.errors import ScarnodeError
from scarnode.util.tables import to_csv
from scarnode.util.terminal import printable

if TYPE_CHECKING:
    from scarnode.ledger.queries import DeliveryRow, JobSummary
    from scarnode.ledger.story import Step

app = typer.Typer(help="List, show, retry, cancel and export jobs.", no_args_is_help=True)

JobArguments = Annotated[list[int], typer.Argument(metavar="JOB...", help="Numbers of jobs: see `scarnode jobs list`.")]

ALWAYS, WIDE, WIDER = (0, 1000), (110, 1000), (140, 1000)
COLUMNS: tuple[tuple[str, tuple[int, int], Callable[[JobSummary], str]], ...] = (
    ("Job", ALWAYS, lambda row: str(row.job)),
    ("State", ALWAYS, lambda row: row.state),
    ("Patient ID", ALWAYS, lambda row: row.patient_id),
    ("Accession", ALWAYS, lambda row: row.accession_number),
    ("Study date", WIDE, lambda row: row.study_date),
    ("From", WIDE, lambda row: row.calling_ae),
    ("By", WIDER, lambda row: row.origin),
    ("Priority", WIDER, lambda row: row.priority),
    ("Slices", WIDER, lambda row: str(row.slices)),
    ("Scar cm³", WIDE, lambda row: number(row.scar_volume_cm3)),
    ("%LGE", ALWAYS, lambda row: number(row.lge_percent)),
    ("Made", (0, 109), lambda row: time_of(row.created_at)[5:16]),
    ("Made", WIDE, lambda row: time_of(row.created_at)),
    ("Why", ALWAYS, lambda row: row.reason),
)
"""Columns of `jobs list`: title, terminal widths that show it, and content."""


@app.command("list")
def jobs_list(
    config: ConfigOption = CONFIG,
    state: StateOption = "",
    patient: PatientOption = "",
    accession: AccessionOption = "",
    study: StudyOption = "",
    date: DateOption = "",
    since: SinceOption = "",
    until: UntilOption = "",
    calling_ae: CallingOption = "",
    limit: LimitOption = 50,
    as_json: JsonOption = False,
) -> None:
    """List jobs, the newest first. A terminal of 110 or 140 columns shows more columns; a pipe gets all."""
    from scarnode.ledger import queries

    wanted = job_filter(patient, accession, study, date, since, until, calling_ae, state)
    settings, ledger = open_ledger(config)
    rows = queries.list_jobs(ledger, wanted, limit)
    record_access(settings, rows)
    if as_json:
        print_json(rows)
        return
    width = min(out.width, 1000) if out.is_terminal else 1000
    columns = [column for column in COLUMNS if column[1][0] <= width <= column[1][1]]
    table = listing(*(title for title, _, _ in columns), folds=("Patient ID", "Accession"), cuts="Why")
    for row in rows:
        table.add_row(*(content(row) for _, _, content in columns))
    show(table)
    if len(rows) == limit and out.is_terminal:
        out.print(f"These are the newest {limit}: --limit shows more, the other options look for some.", style="dim")


@app.command("show")
def jobs_show(job: int, config: ConfigOption = CONFIG, as_json: JsonOption = False) -> None:
    """Print a job's history, from its study's first image to the last storage commitment."""
    from scarnode.ledger import queries
    from scarnode.ledger.story import tell_story

    settings, ledger = open_ledger(config)
    summary = queries.get_job(ledger, job)
    record_access(settings, [summary])
    deliveries, story = queries.list_deliveries(ledger, job), tell_story(ledger, job)
    if as_json:
        events = queries.list_events(ledger, job)
        parts = (("job", summary), ("deliveries", deliveries), ("events", events), ("story", story))
        print(json.dumps({name: plain(part) for name, part in parts}))
        return
    out.print(f"Job {job} · {summary.state} · {RESEARCH_USE}")
    _show_facts(summary)
    if deliveries:
        _show_deliveries(deliveries)
    _show_history(story)


def _show_facts(summary: JobSummary) -> None:
    known = {key: value for key, value in plain(summary).items() if value not in (None, "")}
    show(facts({key.replace("_", " "): _written(key, value) for key, value in known.items()}))


def _written(key: str, value: str | float) -> str:
    if key.endswith("_at"):
        return time_of(float(value))
    return number(value) if isinstance(value, float) else str(value)


def _show_deliveries(rows: Sequence[DeliveryRow]) -> None:
    from scarnode.ledger.tables import CommitmentState

    out.print("\nDeliveries")
    table = listing("To", "Object", "State", "Tries", "Sent", "Detail", folds=("Detail",))
    for row in rows:
        kept = row.commitment == CommitmentState.COMMITTED
        commitment = "; committed" if kept else f"; commitment {row.commitment}: {row.commitment_detail}"
        sent = time_of(row.sent_at)[5:] if row.sent_at else ""
        table.add_row(
            row.destination,
            row.kind,
            row.state,
            str(row.attempts),
            sent,
            row.detail + (commitment if row.commitment else ""),
        )
    show(table)


def _show_history(story: Sequence[Step]) -> None:
    """Print the history, with the time since the step before, and the user of each action."""
    whole = span(story[-1].at - story[0].at)
    out.print(f"\nHistory, {whole} in all")
    table = listing("When", "After", "What", folds=("What",))
    for step in story:
        who = f" ({step.actor})" if step.actor and not step.actor.startswith("node ") else ""
        table.add_row(time_of(step.at), f"{span(step.after)}" if step.after >= 0.05 else "", step.text + who)
    show(table)


@app.command("retry")
def jobs_retry(jobs: JobArguments, config: ConfigOption = CONFIG, as_json: JsonOption = False) -> None:
    """Analyse failed jobs again, release held jobs, send results again. Exit code 2: a job was not changed."""
    _each(jobs, _action("retry", config), as_json)


@app.command("cancel")
def jobs_cancel(jobs: JobArguments, config: ConfigOption = CONFIG, as_json: JsonOption = False) -> None:
    """Cancel jobs that have not ended. Sent objects stay sent. Exit code 2: a job was not cancelled."""
    _each(jobs, _action("cancel", config), as_json)


def _action(action: str, config: Path) -> Callable[[int], str]:
    """Return a function that does an action on a job under the user's name, and returns the job's new state."""
    from scarnode.ledger.actions import ask

    settings, ledger = open_ledger(config)
    trail = settings.audit_trail()
    return lambda job: ask(ledger, job, action, settings.objects(), trail, person_of(trail)).value


def _each(jobs: Sequence[int], move: Callable[[int], str], as_json: bool) -> None:
    """Do an action on each job. A job that does not allow it does not stop the others."""
    moved: list[dict[str, int | str]] = []
    for job in dict.fromkeys(jobs):
        try:
            moved.append({"job": job, "state": move(job)})
        except ScarnodeError as error:
            print_error(error)
        else:
            if not as_json:
                out.print(f"job {job} is {moved[-1]['state']}")
    if as_json:
        print(json.dumps(moved))
    if len(moved) < len(set(jobs)):
        raise typer.Exit(2)


@app.command("export")
def jobs_export(
    output: Annotated[Path, typer.Option("--output", "-o", help="A CSV file; it is replaced.")],
    config: ConfigOption = CONFIG,
    state: StateOption = "",
    patient: PatientOption = "",
    accession: AccessionOption = "",
    study: StudyOption = "",
    date: DateOption = "",
    since: SinceOption = "",
    until: UntilOption = "",
    calling_ae: CallingOption = "",
    as_json: JsonOption = False,
) -> None:
    """Write jobs with their numbers as CSV (--json: as JSON). Only you can read the file: it holds patient data."""
    from scarnode.ledger import queries

    wanted = job_filter(patient, accession, study, date, since, until, calling_ae, state)
    settings, ledger = open_ledger(config)
    rows = queries.list_jobs(ledger, wanted, limit=None)
    if as_json:
        text = json.dumps(plain(rows))
    else:
        text = to_csv([field.name for field in dataclasses.fields(queries.JobSummary)], plain(rows))
    with exporting(settings, rows, output):
        _write(output, text.encode())
    out.print(Text(printable(f"{len(rows)} jobs written to {output}")), soft_wrap=True)


def _write(path: Path, text: bytes) -> None:
    """Write a file that only its owner can read; replace an existing file, and write to a device directly."""
    try:
        if path.parts[:2] == ("/", "dev"):  # /dev/stdout
            with path.open("wb") as device:
                device.write(text)
        else:
            replace_durably(path, [text])
    except OSError as error:
        raise ScarnodeError(
            f"can not be written ({error.strerror})", str(path), "Name a file in a folder that this user can write"
        ) from None
