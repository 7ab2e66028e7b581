"""`scarnode series`: why a series has, or lacks, a result."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.padding import Padding
from rich.text import Text

from scarnode.cli.common import (
    CONFIG,
    ConfigOption,
    JsonOption,
    exporting,
    facts,
    listing,
    open_ledger,
    out,
    person_of,
    plain,
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
    ReasonOption,
    SinceOption,
    StudyOption,
    UntilOption,
    VerdictOption,
    series_filter,
)
from scarnode.util.errors import ScarnodeError
from scarnode.util.terminal import printable

if TYPE_CHECKING:
    from scarnode.dicom.scp import ReceivedInstance
    from scarnode.ledger.queries import SeriesRow, UnreadableRow

app = typer.Typer(help="Why does a series have, or lack, a result?", no_args_is_help=True)


@app.command("list")
def series_list(
    config: ConfigOption = CONFIG,
    study: StudyOption = "",
    accession: AccessionOption = "",
    patient: PatientOption = "",
    date: DateOption = "",
    since: SinceOption = "",
    until: UntilOption = "",
    calling_ae: CallingOption = "",
    verdict: VerdictOption = "",
    reason: ReasonOption = "",
    limit: LimitOption = 200,
    as_json: JsonOption = False,
) -> None:
    """List received series with their verdicts. Without search options also list unreadable files."""
    from scarnode.ledger import queries

    wanted = series_filter("", patient, accession, study, date, since, until, calling_ae, verdict, reason)
    settings, ledger = open_ledger(config)
    rows = queries.list_series(ledger, wanted, limit)
    unreadable = queries.list_unreadable(ledger) if wanted == queries.SeriesFilter() else []
    record_access(settings, rows)
    if as_json:
        print(json.dumps({"series": plain(rows), "unreadable": plain(unreadable)}))
        return
    _list_on_terminal(rows) if out.is_terminal else _list_in_pipe(rows)
    if unreadable:
        _show_unreadable(unreadable)


def _list_on_terminal(rows: Sequence[SeriesRow]) -> None:
    """Print several lines for each series: a UID has a line of its own, so that it can be copied."""
    study = ""
    for row in rows:
        if row.study_instance_uid != study:
            study = row.study_instance_uid
            out.print(Text(printable(f"study {study}"), style="dim"))
        where = "  ".join(filter(None, (row.accession_number, row.patient_id, row.study_date, row.calling_ae)))
        out.print(Text(printable(f"{row.verdict}  {row.reason}  {row.instances} images  {where}"), style="bold"))
        for line in (row.series_instance_uid, f"{row.description}: {row.detail}"):
            out.print(Padding(Text(printable(line)), (0, 0, 0, 2)))


def _list_in_pipe(rows: Sequence[SeriesRow]) -> None:
    titles = ("Series Instance UID", "Verdict", "Reason", "Images", "Accession", "Patient ID", "Study date", "From")
    table = listing(*titles, "Description", "Detail")
    for row in rows:
        table.add_row(
            row.series_instance_uid,
            row.verdict,
            row.reason,
            str(row.instances),
            row.accession_number,
            row.patient_id,
            row.study_date,
            row.calling_ae,
            row.description,
            row.detail,
        )
    show(table)


def _show_unreadable(rows: Sequence[UnreadableRow]) -> None:
    out.print("\nNot readable")
    table = listing("Received", "From", "Problem", "File in the spool", folds=("Problem", "File in the spool"))
    for row in rows:
        table.add_row(time_of(row.received_at)[:16], row.calling_ae, row.problem, row.path)
    show(table)


@app.command("show")
def series_show(
    series: Annotated[str, typer.Argument(help="Series Instance UID; or use the search options.")] = "",
    config: ConfigOption = CONFIG,
    study: StudyOption = "",
    accession: AccessionOption = "",
    patient: PatientOption = "",
    date: DateOption = "",
    since: SinceOption = "",
    until: UntilOption = "",
    calling_ae: CallingOption = "",
    verdict: VerdictOption = "",
    reason: ReasonOption = "",
    limit: LimitOption = 20,
    as_json: JsonOption = False,
) -> None:
    """Explain the verdict of one series, or of all series that the options find."""
    from scarnode.ledger import queries
    from scarnode.pipeline.stack import REASONS

    wanted = series_filter(series, patient, accession, study, date, since, until, calling_ae, verdict, reason)
    if wanted == queries.SeriesFilter():
        raise ScarnodeError("which one?", "scarnode series show", "Give a Series Instance UID, or e.g. --accession A1")
    settings, ledger = open_ledger(config)
    rows = queries.list_series(ledger, wanted, limit)
    if not rows:
        raise ScarnodeError(
            "no such series was searched",
            series or "these options",
            "It may still be arriving, or never came: see scarnode series list",
        )
    record_access(settings, rows)
    if as_json:
        print(json.dumps([{**plain(row), "meaning": REASONS.get(row.reason, "")} for row in rows]))
        return
    for row in rows:
        known = {key.replace("_", " "): str(value) for key, value in plain(row).items() if key != "id"}
        show(facts({**known, "searched at": time_of(row.searched_at), "meaning": REASONS.get(row.reason, "")}))
        out.print()


@app.command("files")
def series_files(
    study: Annotated[str, typer.Argument(help="Study Instance UID.")],
    config: ConfigOption = CONFIG,
    as_json: JsonOption = False,
) -> None:
    """List a study's files in the spool by patient, e.g. to find the wrong patient's."""
    from scarnode.dicom.scp import describe
    from scarnode.ledger import queries

    settings, ledger = open_ledger(config)
    spool = settings.spool.path
    rows = [
        describe(spool, spool / row.path) for row in queries.list_files(ledger, study) if (spool / row.path).exists()
    ]
    if not rows:
        raise ScarnodeError("no file of this study lies in the spool", study, "See: scarnode series list")
    record_access(settings, rows)
    if as_json:
        print_json(rows)
        return
    out.print(Text(printable(f"Files in {spool}")), soft_wrap=True)
    _list_files(rows) if out.is_terminal else _list_files_in_pipe(rows)


def _list_files(rows: Sequence[ReceivedInstance]) -> None:
    """Print the files of one patient after those of another."""
    patients = dict.fromkeys((row.patient_id, row.patient_name) for row in rows)
    for patient in patients:
        own = [row for row in rows if (row.patient_id, row.patient_name) == patient]
        senders = ", ".join(dict.fromkeys(row.calling_ae for row in own))
        title = f"{'  '.join(patient)}  {len(own)} files from {senders}, {time_of(own[0].received_at)}"
        out.print(Text(printable(title), style="bold"))
        for row in own:
            out.print(Padding(Text(printable(row.path), overflow="fold"), (0, 0, 0, 2)))


def _list_files_in_pipe(rows: Sequence[ReceivedInstance]) -> None:
    table = listing("Patient ID", "Patient", "Received", "From", "File")
    for row in rows:
        table.add_row(row.patient_id, row.patient_name, time_of(row.received_at), row.calling_ae, row.path)
    show(table)


@app.command("take-out")
def series_take_out(
    study: Annotated[str, typer.Argument(help="Study Instance UID.")],
    patient: Annotated[str, typer.Option(help="Patient ID of the images that do not belong to the study.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the images.")],
    config: ConfigOption = CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Move the images of another patient out of a study (PATIENT_MISMATCH). The rest is searched again."""
    from scarnode.audit import record_deleted
    from scarnode.ledger import queries
    from scarnode.ledger.patient_removal import files_of, take_out

    settings, ledger = open_ledger(config)
    spool = settings.spool.path
    taken, left = files_of(spool, [row.path for row in queries.list_files(ledger, study)], patient)
    trail = settings.audit_trail()
    paths = [spool / one.path for one in taken]
    with exporting(settings, taken, output):
        take_out(ledger.store, spool, taken, left[0], output, lambda: record_deleted(trail, paths, person_of(trail)))
    if as_json:
        print(json.dumps({"study": study, "moved": len(taken), "left": len(left), "folder": str(output.absolute())}))
        return
    out.print(Text(printable(f"{len(taken)} images moved to {output}; {len(left)} left, to be searched again")))
