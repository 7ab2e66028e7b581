"""`scarnode train` and `scarnode evaluate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from scarnode import RESEARCH_USE
from scarnode.cli.common import err, out
from scarnode.util.errors import ScarnodeError
from scarnode.util.terminal import Table

app = typer.Typer()


@app.command()
def train(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the run; an existing run is continued.")],
    cases: Annotated[
        list[Path] | None, typer.Argument(help="Folders of cases: npz, NIfTI pairs, or DICOM with SEG.")
    ] = None,
    preset: Annotated[
        str, typer.Option(help="shipped, paper, or finder (the network that finds the heart).")
    ] = "shipped",
    initial: Annotated[
        str | None, typer.Option(help="Fine-tune: shipped, a .safetensors file, or the folder of a run.")
    ] = None,
    finder: Annotated[str | None, typer.Option(help="Source of the heart finder; default: as --initial.")] = None,
    emidec: Annotated[Path | None, typer.Option(help="Folder of the EMIDEC set.")] = None,
    acdc: Annotated[Path | None, typer.Option(help="Folder of the ACDC set; LGE contrast is painted on it.")] = None,
    steps: Annotated[
        int | None, typer.Option(help="Training steps; default: the preset's, or 600 with --initial.")
    ] = None,
    dims: Annotated[int | None, typer.Option(help="3, or 2: every slice alone.")] = None,
    held_out: Annotated[float, typer.Option(help="Share of the patients kept for the evaluation.")] = 0.2,
    seed: Annotated[int, typer.Option(help="The same seed and cases train the same network.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads; 0: all cores.")] = 0,
) -> None:
    """Train the network, or fine-tune it with your own contours. Writes weights and their card (docs/training.md).

    Ctrl-C stops the run; the same command continues it. A GPU is used if there is one.
    """
    from scarnode.training.run import plan, train_and_pack

    options: dict[str, Any] = {
        "emidec": emidec,
        "acdc": acdc,
        "initial": initial,
        "steps": steps,
        "dims": dims,
        "held_out": held_out,
    }
    settings = plan(cases or [], output, preset_name=preset, seed=seed, threads=threads, **options)
    command = " ".join(["scarnode", *(Path(word).name for word in sys.argv[1:])])  # paths would reveal the machine
    columns = (TextColumn("{task.fields[loss]}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps,"))
    with Progress(*columns, TimeRemainingColumn(), TextColumn("to go"), console=out) as bar:
        task = bar.add_task("", total=None, loss="reading cases")

        def progress(done: int, loss: float) -> None:
            if bar.tasks[0].total is None:  # steps of an earlier run do not count for the speed
                bar.reset(task, total=settings.steps, completed=done - 1)
            bar.update(task, completed=done, loss=f"loss {loss:.3f}")

        try:
            weights = train_and_pack(
                settings, finder=finder, command=command, progress=progress, announce=bar.console.print
            )
            bar.update(task, visible=bar.tasks[0].total is not None)
        except KeyboardInterrupt:
            bar.stop()
            out.print(f"stopped; the same command goes on with what lies in {output}")
            raise typer.Exit(130) from None
    _print_metrics(weights)


def _print_metrics(weights: Path) -> None:
    from scarnode.pipeline.segment.card import read_card

    card = read_card(weights)
    columns = {
        "Dice blood": "dice_blood",
        "Dice myocardium": "dice_myocardium",
        "Dice scar": "dice_scar",
        "%LGE bias": "lge_bias_points",
        "False scar %": "false_scar_percent_median",
    }
    table = Table("Held-out set", "", "Cases", *columns, title=RESEARCH_USE)
    for source, after in card["metrics"].items():
        rows = {"before": after.get("before"), "after": after} if "before" in after else {"": after}
        for name, row in rows.items():
            values = ["" if row.get(key) is None else f"{row[key]:.3f}" for key in columns.values()]
            table.add_row(source, name, str(row["cases"]), *values)
    out.print(table if card["metrics"] else "no case was held out: nothing is known of how good these weights are")
    out.print(f"{weights}: {card['name']} {card['version']}, licence: {card['licence']}", soft_wrap=True)
    out.print(f"to use them: [segment] weights = {weights.resolve()}", soft_wrap=True)


@app.command()
def evaluate(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for report.md, results.json and figures.")],
    cases: Annotated[list[Path] | None, typer.Argument(help="Folders of cases with contours, one set each.")] = None,
    corrections: Annotated[
        Path | None, typer.Option(help="The node's results/corrections: readers against the network, by month.")
    ] = None,
    weights: Annotated[
        list[Path] | None, typer.Option(help="A .safetensors file; several are compared. Default: shipped.")
    ] = None,
    merge: Annotated[
        list[str] | None, typer.Option(help="Merge of overlapping windows for scar: mean, or max as published.")
    ] = None,
    look: Annotated[
        list[str] | None,
        typer.Option(help="Also under this look: darkened, rectified, finer, sparser, other_center, all."),
    ] = None,
    held_out: Annotated[bool, typer.Option("--held-out", help="Only the fifth that training holds out.")] = False,
    methods: Annotated[bool, typer.Option(help="Also the intensity methods (n-SD, FWHM, Otsu, mixture).")] = True,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Compare networks and intensity methods with an expert's contours: the published evaluation and more."""
    import shlex

    from rich.progress import track

    if corrections is not None:
        from scarnode.evaluation.corrections import evaluate_corrections

        out.print(f"{evaluate_corrections(corrections, output)} · {RESEARCH_USE}", soft_wrap=True)
    if not cases:
        if corrections is None:
            raise ScarnodeError("no case is given", "evaluate", "give folders of cases, or --corrections FOLDER")
        return
    from scarnode.evaluation.run import SHIFT_NAMES, EvaluationSettings, run

    looks = SHIFT_NAMES if "all" in (look or ()) else tuple(look or ())
    command = shlex.join(["scarnode", *sys.argv[1:]])
    settings = EvaluationSettings(
        tuple(cases),
        output,
        tuple(weights or ()),
        tuple(merge or ("mean",)),
        looks,
        held_out,
        methods,
        device,
        command,
    )
    report = run(settings, lambda some, what: track(some, what, console=err))
    out.print(f"{report} · {RESEARCH_USE}", soft_wrap=True)
