"""Commands that analyse: the node, files, the demo; and synthetic patients."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from scarnode import RESEARCH_USE
from scarnode.cli.common import CONFIG, ConfigOption, JsonOption, err, number, out
from scarnode.util.terminal import Table

app = typer.Typer()


class Roles(str, Enum):
    """Roles of a process of the node."""

    RECEIVE = "receive"
    WORK = "work"
    DELIVER = "deliver"


@app.command()
def serve(
    config: ConfigOption = CONFIG,
    role: Annotated[
        list[Roles] | None,
        typer.Option(help="Role of this process among several on a PostgreSQL ledger; default: all."),
    ] = None,
) -> None:
    """Run the node until SIGTERM; SIGHUP reloads config.ini."""
    from scarnode.node.service import serve as run

    run(config, [one.value for one in role or Roles])


@app.command()
def segment(
    paths: Annotated[list[Path], typer.Argument(help="DICOM files or folders.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for SEG, SR and pictures.")],
    weights: Annotated[Path | None, typer.Option(help="A .safetensors file; default: the shipped weights.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    objects: Annotated[
        str, typer.Option(help="Objects besides seg, sr and sc: pdf, labelmap, probability (comma-separated).")
    ] = "",
    workers: Annotated[int, typer.Option(min=1, help="Processes; each loads the network.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Analyse files without a network: a study, or an archive of thousands.

    Writes a folder per stack, results.csv and studies.jsonl, the journal. After a stop the same command continues. It
    analyses only new, changed and failed studies.

    Exit code 0: at least one stack was analysed. 3: there is no short-axis LGE stack. 2: unusable input.
    """
    from scarnode.batch.archive import analyse_files
    from scarnode.batch.process import BatchOptions

    kinds = tuple(kind for word in objects.split(",") if (kind := word.strip()))
    options = BatchOptions(output, weights, device, kinds, workers)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    with Progress(*columns, TimeRemainingColumn(), TextColumn("to go"), console=err, transient=True) as bar:
        try:
            outcome = analyse_files(paths, options, _progress_callback(bar))
        except KeyboardInterrupt:
            bar.stop()
            err.print(f"stopped; the same command goes on with what lies in {output}")
            raise typer.Exit(130) from None
    if as_json:
        print(json.dumps(dataclasses.asdict(outcome), indent=2, default=str))
    else:
        _print_outcome(outcome)
    raise typer.Exit(0 if outcome.stacks else 3)


def _progress_callback(bar: Progress) -> Callable[[str, int, int], None]:
    """Return a callback that shows progress, speed and remaining time of an analysis."""
    task = bar.add_task("Looking for files", total=None, rate="")

    def progress(what: str, done: int, total: int) -> None:
        if bar.tasks[0].description != what:  # work of an earlier run does not count for the speed
            bar.reset(task, total=total, completed=done, description=what)
        speed = bar.tasks[0].speed
        per_minute = f"{60 * speed:.0f} a minute" if speed else ""
        bar.update(task, completed=done, total=total, rate=per_minute)

    return progress


def _print_outcome(outcome: Any) -> None:
    table = Table("Stack", "Slices", "Scar cm³", "Myocardium cm³", "%LGE", "Flags", "Result", title=RESEARCH_USE)
    for place, stack in enumerate(outcome.stacks, 1):
        table.add_row(
            str(place),
            str(stack.slices),
            number(stack.scar_volume_cm3),
            number(stack.myocardium_volume_cm3),
            number(stack.lge_percent),
            " ".join(stack.flags),
            str(Path(stack.seg).parent),
        )
    if outcome.stacks:
        out.print(table)
    if outcome.rejected:
        rejected = Table("Series Instance UID", "Reason", "Detail", title="Not analysed")
        for row in outcome.rejected:
            rejected.add_row(row.series_uid, row.reason, row.detail)
        out.print(rejected)


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path("scarnode-demo"),
) -> None:
    """Run a complete example on this machine: send a synthetic LGE study by DICOM, receive SEG and SR."""
    from scarnode.cli.demo import run

    raise typer.Exit(run(output, out))


@app.command()
def phantom(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder; one sub-folder per patient.")],
    count: Annotated[int, typer.Option("-n", min=1, help="How many patients.")] = 1,
    seed: Annotated[int, typer.Option(help="The same seed makes the same patients.")] = 0,
    vendor: Annotated[str, typer.Option(help="siemens, ge, philips, canon or mix.")] = "mix",
    published: Annotated[bool, typer.Option("--published", help="207 patients of 7 sites, as published.")] = False,
) -> None:
    """Write synthetic LGE series as DICOM, with their true segmentation."""
    from scarnode.phantom.dicom import write_cohort, write_published_test_set

    written = write_published_test_set(output) if published else write_cohort(output, count, seed, vendor)
    out.print(f"{len(written)} synthetic patients written to {output}")
