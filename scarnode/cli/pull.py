"""`scarnode pull`: studies from an archive to the node."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from scarnode.cli.common import CONFIG, ConfigOption, JsonOption, err, exporting, open_ledger, out, plain, record_access
from scarnode.cli.transfer import stopped_by_ctrl_c
from scarnode.util.errors import ScarnodeError
from scarnode.util.terminal import Table

if TYPE_CHECKING:
    from scarnode.config import Settings
    from scarnode.dicom.query import FoundSeries, FoundStudy, Link, PulledStudy, SubOperations
    from scarnode.ledger.cohort import Cohort
    from scarnode.ledger.ledger import Ledger

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
        str, typer.Option("--from", help="A source's name in config.ini; not needed if there is only one.")
    ] = "",
    by_get: Annotated[
        bool | None, typer.Option("--get/--move", help="By C-GET or C-MOVE; default: the source's how.")
    ] = None,
    rule: Annotated[str, typer.Option(help="Run the nightly rule [pull:NAME] now.", metavar="NAME")] = "",
    cohort: Annotated[Path | None, typer.Option(help="CSV with a column accession or study_instance_uid.")] = None,
    results: Annotated[Path | None, typer.Option(help="CSV for the cohort's numbers.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until all of the cohort is analysed.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be pulled.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="If more studies are found, nothing is pulled.")] = 100,
    config: ConfigOption = CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Pull studies from an archive: query it (C-FIND), then retrieve by C-MOVE or C-GET.

    Exit code 0: everything came. 1: something is missing. 2: unusable input, or the query failed. 3: nothing was
    found. 130: Ctrl-C (the transfer is cancelled).
    """
    from scarnode.config.local_node import make_link
    from scarnode.dicom.query import Wanted, choose_series, find_studies, read_period
    from scarnode.util.logs import keep_quiet_about_patients

    keep_quiet_about_patients()
    settings, ledger = open_ledger(config)
    if rule:
        raise typer.Exit(run_one(settings, ledger, rule))
    how: Literal["move", "get"] | None = None if by_get is None else "get" if by_get else "move"
    link = make_link(settings, ledger.pulls.arrived, choose_source(settings, source), how)
    if cohort is not None:
        if results is None:
            raise ScarnodeError("where do the results go?", "--cohort", "Give --results OUT.csv too")
        raise typer.Exit(pull_cohort(settings, ledger, link, cohort, results, modality, wait))
    wanted = Wanted(study, accession, patient, read_period(date), description, modality)
    if wanted.unbounded:
        todo = "Give --accession, --patient, --study or --date"
        raise ScarnodeError("this would be the whole archive", str(link.source), todo)
    found = find_studies(link.source, wanted, link.calling_ae_title)
    record_access(settings, found)
    if len(found) > limit and not dry_run:
        raise ScarnodeError(
            f"{len(found)} studies were found", "--limit", f"Narrow the query, or give --limit {len(found)}"
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


def choose_source(settings: Settings, name: str) -> str:
    """Return a source's name; without one, that of the only one there is."""
    if not name and len(settings.sources) == 1:
        [name] = settings.sources
    if name not in settings.sources:
        known = ", ".join(settings.sources) or "none: add a section [source:NAME] to config.ini (docs/pull.md)"
        raise ScarnodeError("no such source" if name else "name a source", name or "--from", f"There are: {known}")
    return name


def pull_all(
    link: Link, plans: list[tuple[FoundStudy, list[FoundSeries]]], ledger: Ledger, stopping: threading.Event
) -> list[PulledStudy]:
    """Pull studies one after the other with progress bars, and return the outcomes."""
    from scarnode.dicom.query import pull_study

    _need_node(link)
    pulled: list[PulledStudy] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, console=err, transient=True) as bar:
        studies = bar.add_task("Studies", total=len(plans), note="")
        images = bar.add_task("Images", total=None, note="")

        def progress(counts: SubOperations) -> None:
            total = counts.remaining + counts.completed + counts.failed
            note = f"{counts.failed} failed" if counts.failed else ""
            bar.update(images, completed=counts.completed, total=total, note=note)

        for study, series in plans:
            if stopping.is_set():
                break
            bar.update(images, completed=0, total=None, note="")
            pulled.append(pull_study(link, study, series, progress, stopping))
            if pulled[-1].ok:
                ledger.pulls.note_pulled(link.source.name, study.study_instance_uid, study.instances)
            bar.advance(studies)
    return pulled


def _need_node(link: Link) -> None:
    from scarnode.dicom.scu import echo

    answer = echo(link.node, link.calling_ae_title)
    if not answer.ok:
        raise ScarnodeError("the node does not answer", str(link.node), f"Start it: scarnode serve. {answer.detail}")


def run_one(settings: Settings, ledger: Ledger, name: str) -> int:
    """Run a nightly rule now; return the exit code."""
    from scarnode.config.local_node import make_link
    from scarnode.node.tasks.nightly import run_rule

    rules = settings.pull_rules()
    if name not in rules:
        raise ScarnodeError("no such rule", name, f"There are: {', '.join(rules) or 'none: add a section [pull:NAME]'}")
    link = make_link(settings, ledger.pulls.arrived, rules[name].source)
    _need_node(link)
    with stopped_by_ctrl_c() as stopping:
        run = run_rule(rules[name], link, ledger, stopping, tell=lambda study: record_access(settings, [study]))
    out.print(f"rule {name}: {run.pulled} studies pulled, {run.failed} failed, {run.left_over} left", soft_wrap=True)
    if run.detail:
        out.print(run.detail, soft_wrap=True)
    return 130 if stopping.is_set() else 1 if run.failed else 0


def pull_cohort(
    settings: Settings, ledger: Ledger, link: Link, table: Path, results: Path, modality: str, wait: bool
) -> int:
    """Pull the missing studies of a cohort, and write the numbers of all its studies; return the exit code.

    The same command continues a stopped run, and adds results that came since.
    """
    from scarnode.dicom.query import Wanted, choose_series, find_studies
    from scarnode.ledger.cohort import read_cohort, studies_of

    cohort = read_cohort(table)
    troubles = [""] * len(cohort.members)
    with stopped_by_ctrl_c() as stopping:
        for place, member in enumerate(cohort.members):
            here = studies_of(ledger, member)
            if stopping.is_set() or (
                here and all(ledger.pulls.was_pulled(link.source.name, uid, None) for uid in here)
            ):
                continue
            try:
                wanted = Wanted(member.study_uid, "" if member.study_uid else member.accession, modality=modality)
                found = find_studies(link.source, wanted, link.calling_ae_title)
                plans = [(one, choose_series(link, one, modality)) for one in found]
                record_access(settings, found)
                done = pull_all(link, [(one, series) for one, series in plans if series], ledger, stopping)
                lost = [one.detail for one in done if not one.ok]
                troubles[place] = "; ".join(lost) if done else "the archive has no such study"
            except ScarnodeError as error:
                troubles[place] = str(error)
            err.print(f"{place + 1} of {len(cohort.members)} asked for", style="dim")
        written: set[str] = set()
        rows, waiting = _write_cohort(settings, ledger, cohort, troubles, results, written)
        while wait and waiting and not stopping.wait(2.0):
            rows, waiting = _write_cohort(settings, ledger, cohort, troubles, results, written)
    out.print(f"{len(rows)} rows written to {results}; {waiting} studies are not through yet", soft_wrap=True)
    if stopping.is_set():
        return 130
    return 1 if any(troubles) or waiting else 0


def _write_cohort(
    settings: Settings, ledger: Ledger, cohort: Cohort, troubles: list[str], results: Path, written: set[str]
) -> tuple[list[tuple[str, ...]], int]:
    """Write the numbers of a cohort, each study after an audit message; return the rows and the number pending."""
    from scarnode.ledger.cohort import collect, subjects_of, write_results

    studies = [study for study in subjects_of(ledger, cohort) if study.study_instance_uid not in written]
    rows, waiting = collect(ledger, cohort, troubles)
    with exporting(settings, studies, results):
        write_results(results, cohort, rows)
    written.update(study.study_instance_uid for study in studies)
    return rows, waiting


def _print_plans(plans: list[tuple[FoundStudy, list[FoundSeries]]], as_json: bool, modality: str) -> None:
    if as_json:
        print(json.dumps([{**plain(study), "pull": plain(series)} for study, series in plans]))
        return
    if not plans:
        out.print(f"nothing found{f' with a series of modality {modality}' if modality else ''}", soft_wrap=True)
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
    out.print(f"{good} of {len(found)} studies are here; what becomes of them: scarnode jobs list", soft_wrap=True)
