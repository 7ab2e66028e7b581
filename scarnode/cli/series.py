"""`scarnode series`: why a series has, or lacks, a result."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from scarnode.cli.terms import (
    CONFIG,
    ConfigOption,
    JsonOption,
    open_ledger,
    out,
    plain,
    print_json,
    tell_access,
    time_of,
)
from scarnode.errors import ScarnodeError
from scarnode.terminal import Table

app = typer.Typer(help="Why does a series have, or lack, a result?", no_args_is_help=True)


@app.command("list")
def series_list(
    config: ConfigOption = CONFIG,
    study: Annotated[str, typer.Option(help="Study Instance UID.")] = "",
    accession: Annotated[str, typer.Option(help="Accession number.")] = "",
    patient: Annotated[str, typer.Option(help="Patient ID.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many rows.")] = 200,
    as_json: JsonOption = False,
) -> None:
    """List every series received and what became of it; then what could not be read at all."""
    from scarnode.jobs import queries

    settings, ledger = open_ledger(config)
    rows, unreadable = queries.list_series(ledger, study, accession, patient, limit), queries.list_unreadable(ledger)
    tell_access(settings, rows)
    if as_json:
        print(json.dumps({"series": plain(rows), "unreadable": plain(unreadable)}))
        return
    table = Table("Series Instance UID", "Description", "Images", "Verdict", "Reason", "Detail")
    for row in rows:
        table.add_row(row.series_instance_uid, row.description, str(row.instances), row.verdict, row.reason, row.detail)
    out.print(table)
    if unreadable:
        table = Table("SOP Instance UID", "From", "Received", "Problem", title="Not readable")
        for one in unreadable:
            table.add_row(one.sop_instance_uid, one.calling_ae, time_of(one.received_at), one.problem)
        out.print(table)


@app.command("show")
def series_show(series: str, config: ConfigOption = CONFIG) -> None:
    """Explain the verdict on one series (give its Series Instance UID)."""
    from scarnode.jobs import queries
    from scarnode.stack import REASONS

    settings, ledger = open_ledger(config)
    rows = queries.list_one_series(ledger, series)
    if not rows:
        raise ScarnodeError(
            "no such series was searched", series, "It may still be arriving, or never came: see scarnode series list"
        )
    tell_access(settings, rows)
    for row in rows:
        facts = Table(show_header=False, title=f"{row.verdict}: {row.reason}")
        for key, value in plain(row).items():
            facts.add_row(key.replace("_", " "), time_of(value) if key.endswith("_at") else str(value))
        facts.add_row("meaning", REASONS.get(row.reason, ""))
        out.print(facts)


@app.command("files")
def series_files(
    study: Annotated[str, typer.Argument(help="Study Instance UID.")],
    config: ConfigOption = CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List a study's files in the spool, each with its patient: which is the wrong one?"""
    from scarnode.jobs import queries
    from scarnode.receive import describe

    settings, ledger = open_ledger(config)
    spool = settings.spool.path
    rows = [
        describe(spool, spool / row.path) for row in queries.list_files(ledger, study) if (spool / row.path).exists()
    ]
    if not rows:
        raise ScarnodeError("no file of this study lies in the spool", study, "See: scarnode series list")
    if as_json:
        print_json(rows)
        return
    table = Table("File", "SOP Instance UID", "From", "Received", "Patient ID", "Patient", title=str(spool))
    for row in rows:
        received = time_of(row.received_at)
        table.add_row(row.path, row.sop_instance_uid, row.calling_ae, received, row.patient_id, row.patient_name)
    out.print(table)
