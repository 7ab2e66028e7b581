"""`scarnode jobs`: what was analysed, and what became of it."""

from __future__ import annotations

import csv
import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from scarnode import RESEARCH_USE
from scarnode.cli.terms import (
    CONFIG,
    ConfigOption,
    JsonOption,
    number,
    open_ledger,
    out,
    plain,
    print_json,
    tell_access,
    time_of,
)
from scarnode.terminal import Table

app = typer.Typer(help="Ask and move the ledger's jobs.", no_args_is_help=True)


@app.command("list")
def jobs_list(
    config: ConfigOption = CONFIG,
    state: Annotated[str, typer.Option(help="queued, running, delivering, done, failed, held or superseded.")] = "",
    patient: Annotated[str, typer.Option(help="Patient ID.")] = "",
    accession: Annotated[str, typer.Option(help="Accession number.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many rows.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List jobs, the newest first."""
    from scarnode.jobs import queries

    settings, ledger = open_ledger(config)
    rows = queries.list_jobs(ledger, state, patient, accession, limit)
    tell_access(settings, rows)
    if as_json:
        print_json(rows)
        return
    table = Table(
        "Job", "State", "Priority", "By", "Patient ID", "Accession", "Slices", "Scar cm³", "%LGE", "Made", "Why"
    )
    for row in rows:
        table.add_row(
            str(row.job),
            row.state,
            row.priority,
            row.origin,
            row.patient_id,
            row.accession_number,
            str(row.slices),
            number(row.scar_volume_cm3),
            number(row.lge_percent),
            time_of(row.created_at),
            row.reason,
        )
    out.print(table)


@app.command("show")
def jobs_show(job: int, config: ConfigOption = CONFIG, as_json: JsonOption = False) -> None:
    """Tell a job's whole story: numbers, deliveries, and every change with its reason."""
    from scarnode.jobs import queries

    settings, ledger = open_ledger(config)
    summary = queries.get_job(ledger, job)
    tell_access(settings, [summary])
    deliveries, events = queries.list_deliveries(ledger, job), queries.list_events(ledger, job)
    if as_json:
        print(json.dumps({k: plain(v) for k, v in (("job", summary), ("deliveries", deliveries), ("events", events))}))
        return
    facts = Table(show_header=False, title=f"Job {job} · {RESEARCH_USE}")
    for key, value in plain(summary).items():
        facts.add_row(key.replace("_", " "), time_of(value) if key.endswith("_at") and value else str(value))
    out.print(facts)
    table = Table("Destination", "Object", "State", "Attempts", "Detail", "Commitment", title="Deliveries")
    for row in deliveries:
        commitment = f"{row.commitment}: {row.commitment_detail}" if row.commitment else ""
        table.add_row(row.destination, row.kind, row.state, str(row.attempts), row.detail, commitment)
    out.print(table)
    story = Table("When", "Who", "From", "To", "Why", title="Story")
    for event in events:
        story.add_row(time_of(event.at), event.actor, event.from_state, event.to_state, event.why)
    out.print(story)


@app.command("retry")
def jobs_retry(job: int, config: ConfigOption = CONFIG) -> None:
    """Analyse a failed job again; release a held one; send a job's results again."""
    settings, ledger = open_ledger(config)
    state = ledger.retry(job, settings.objects())
    out.print(f"job {job} is {state.value}", highlight=False)


@app.command("cancel")
def jobs_cancel(job: int, config: ConfigOption = CONFIG) -> None:
    """End a job that has not ended; what was sent stays sent."""
    open_ledger(config)[1].cancel(job)
    out.print(f"job {job} is superseded", highlight=False)


@app.command("export")
def jobs_export(
    output: Annotated[Path, typer.Option("--output", "-o", help="A CSV file.")], config: ConfigOption = CONFIG
) -> None:
    """Write all jobs with their numbers as CSV. Holds patient data: the file is readable by you alone."""
    from scarnode.jobs import queries

    settings, ledger = open_ledger(config)
    rows = queries.list_jobs(ledger, limit=sys.maxsize)
    tell_access(settings, rows, output)
    output.touch(mode=0o600)
    with output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in dataclasses.fields(queries.JobSummary)])
        writer.writeheader()
        writer.writerows(plain(rows))
    out.print(f"{len(rows)} jobs written to {output}", highlight=False)
