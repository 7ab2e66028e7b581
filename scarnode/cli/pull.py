"""`scarnode pull`: studies from an archive to the node."""

from __future__ import annotations

import dataclasses
import json
import threading
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from scarnode.cli.terms import CONFIG, PLAIN, ConfigOption, JsonOption, err, open_ledger, out, plain, tell_access
from scarnode.cli.transfer import stopped_by_ctrl_c
from scarnode.errors import ScarnodeError
from scarnode.terminal import Table

if TYPE_CHECKING:
    from scarnode.config import Settings
    from scarnode.jobs import Ledger
    from scarnode.query import Archive, FoundSeries, FoundStudy, Link, PulledStudy, SubOperations

app = typer.Typer()


@app.command()
def pull(
    accession: Annotated[str, typer.Option(help="Accession number; * and ? are wild cards, here and below.")] = "",
    patient: Annotated[str, typer.Option(help="Patient ID.")] = "",
    study: Annotated[str, typer.Option(help="Study Instance UID.")] = "",
    date: Annotated[
        str, typer.Option(help="Study Date: 20260131, 20260101-20260131, or 20260101- (from then on).")
    ] = "",
    description: Annotated[str, typer.Option(help="Study Description, e.g. '*cardiac*', in any case.")] = "",
    modality: Annotated[str, typer.Option(help="Only series of this modality are pulled; '' for all.")] = "MR",
    source: Annotated[
        str, typer.Option("--from", help="A source's name in config.ini; may be left out where there is one.")
    ] = "",
    by_get: Annotated[
        bool | None, typer.Option("--get/--move", help="By C-GET or C-MOVE; default: how = of it.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be pulled.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="More studies than this are not pulled at one go.")] = 100,
    config: ConfigOption = CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Pull studies from an archive: it is asked (C-FIND), and sends to the node (C-MOVE), or the node fetches (C-GET).

    Exit code 0: all is here. 1: something did not come. 2: unusable input, or the archive can not be asked. 3: nothing
    was found. 130: Ctrl-C (the archive is told to stop).
    """
    from scarnode.logs import keep_quiet_about_patients
    from scarnode.query import Wanted, choose_series, find_studies, read_period

    keep_quiet_about_patients()
    settings, ledger = open_ledger(config)
    link = make_link(settings, ledger, source, by_get)
    wanted = Wanted(study, accession, patient, read_period(date), description, modality)
    if wanted.unbounded:
        todo = "Give --accession, --patient, --study or --date"
        raise ScarnodeError("this would be the whole archive", str(link.source), todo)
    found = find_studies(link.source, wanted, link.calling_ae_title)
    tell_access(settings, found)
    if len(found) > limit and not dry_run:
        raise ScarnodeError(
            f"{len(found)} studies were found", "--limit", f"Narrow the question, or give --limit {len(found)}"
        )
    plans = [(one, choose_series(link, one, modality)) for one in found]
    plans = [(one, series) for one, series in plans if series]
    if dry_run or not plans:
        _print_plans(plans, as_json, modality)
        raise typer.Exit(0 if plans else 3)
    with stopped_by_ctrl_c() as stopping:
        pulled = pull_all(link, plans, ledger, stopping)
    if as_json:
        print(json.dumps(plain(pulled)))
    else:
        _print_pulled([one for one, _ in plans], pulled)
    raise typer.Exit(130 if stopping.is_set() else 0 if all(one.ok for one in pulled) else 1)


def make_link(settings: Settings, ledger: Ledger, name: str, by_get: bool | None = None) -> Link:
    """Give the way from a source of config.ini to the node, which must run."""
    from scarnode.ourselves import own_node
    from scarnode.query import Link

    archive = choose_source(settings, name)
    if by_get is not None:
        archive = dataclasses.replace(archive, how="get" if by_get else "move")
    return Link(archive, own_node(settings), settings.node.ae_title, ledger.arrived)


def choose_source(settings: Settings, name: str) -> Archive:
    """Give a source of config.ini by its name; without one, the only one there is."""
    archives = settings.archives()
    if not name and len(archives) == 1:
        [name] = archives
    if name not in archives:
        known = ", ".join(archives) or "none: add a section [source:NAME] with host, port and ae_title to config.ini"
        raise ScarnodeError("no such source" if name else "name a source", name or "--from", f"There are: {known}")
    return archives[name]


def pull_all(
    link: Link, plans: list[tuple[FoundStudy, list[FoundSeries]]], ledger: Ledger, stopping: threading.Event
) -> list[PulledStudy]:
    """Pull studies one after the other, with bars, and note those that came."""
    from scarnode.deliver import echo
    from scarnode.query import pull_study

    answer = echo(link.node, link.calling_ae_title)
    if not answer.ok:
        raise ScarnodeError("the node does not answer", str(link.node), f"Start it: scarnode serve. {answer.detail}")
    pulled = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, console=err, transient=True) as bar:
        studies = bar.add_task("Studies", total=len(plans), note="")
        images = bar.add_task("Images", total=None, note="")

        def watch(counts: SubOperations) -> None:
            total = counts.remaining + counts.completed + counts.failed
            note = f"{counts.failed} failed" if counts.failed else ""
            bar.update(images, completed=counts.completed, total=total, note=note)

        for study, series in plans:
            if stopping.is_set():
                break
            bar.update(images, completed=0, total=None, note="")
            pulled.append(pull_study(link, study, series, watch, stopping))
            if pulled[-1].ok:
                ledger.note_pulled(link.source.name, study.study_instance_uid, study.instances)
            bar.advance(studies)
    return pulled


def _print_plans(plans: list[tuple[FoundStudy, list[FoundSeries]]], as_json: bool, modality: str) -> None:
    if as_json:
        print(json.dumps([{**plain(study), "pull": plain(series)} for study, series in plans]))
        return
    if not plans:
        out.print(f"nothing found{f' with a series of modality {modality}' if modality else ''}", **PLAIN)
        return
    table = Table("Date", "Patient ID", "Accession", "Description", "Series", "Images", title="Would be pulled")
    for study, series in plans:
        counts = [one.instances for one in series]
        images = "?" if None in counts else str(sum(filter(None, counts)))
        of_all = f" of {study.series}" if study.series is not None else ""
        table.add_row(
            study.study_date,
            study.patient_id,
            study.accession_number,
            study.description,
            f"{len(series)}{of_all}",
            images,
        )
    out.print(table)


def _print_pulled(found: list[FoundStudy], pulled: list[PulledStudy]) -> None:
    table = Table("Date", "Patient ID", "Accession", "Images", "", "Detail", title="Pulled")
    for study, one in zip(found, pulled, strict=False):
        state = "here" if one.ok else "cancelled" if one.cancelled else "NOT ALL"
        detail = "" if one.ok else one.detail
        table.add_row(study.study_date, study.patient_id, study.accession_number, str(one.images), state, detail)
    out.print(table)
    good = sum(one.ok for one in pulled)
    out.print(f"{good} of {len(found)} studies are here; what becomes of them: scarnode jobs list", **PLAIN)
