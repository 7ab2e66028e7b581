"""Commands that do the work: the node, files without a network, the demo, synthetic patients."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from scarnode import RESEARCH_USE
from scarnode.cli.terms import (
    CONFIG,
    ConfigOption,
    JsonOption,
    err,
    number,
    out,
)
from scarnode.terminal import Table

app = typer.Typer()


@app.command()
def serve(config: ConfigOption = CONFIG) -> None:
    """Run the node until SIGTERM."""
    from scarnode.config import read_settings
    from scarnode.node import serve as run

    run(read_settings(config))


@app.command()
def segment(
    paths: Annotated[list[Path], typer.Argument(help="DICOM files or folders.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for SEG, SR and pictures.")],
    weights: Annotated[Path | None, typer.Option(help="A .safetensors file; default: the shipped weights.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    objects: Annotated[
        str, typer.Option(help="Made besides seg, sr and sc: pdf, labelmap, probability (comma-separated).")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Analyse files without a network.

    Exit code 0: at least one stack was analysed. 3: nothing is a short-axis LGE stack. 2: unusable input.
    """
    from scarnode.offline import analyse_files

    kinds = [kind for word in objects.split(",") if (kind := word.strip())]
    outcome = analyse_files(paths, output, weights, device, err, kinds=kinds)
    if as_json:
        print(json.dumps(dataclasses.asdict(outcome), indent=2, default=str))
    else:
        _print_outcome(outcome)
    raise typer.Exit(0 if outcome.stacks else 3)


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
    """Show the whole walk on this machine: a synthetic LGE study goes in over DICOM, SEG and SR come back."""
    from scarnode.demo import run

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
    from scarnode.lab.phantom import write_cohort, write_published_test_set

    written = write_published_test_set(output) if published else write_cohort(output, count, seed, vendor)
    out.print(f"{len(written)} synthetic patients written to {output}", highlight=False)
