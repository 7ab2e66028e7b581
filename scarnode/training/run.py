"""From folders of cases to a weight file that the node can use: `scarnode train`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from scarnode.cases.model import Case
from scarnode.pipeline.segment.card import read_card, shipped_weights
from scarnode.training.export import pack
from scarnode.training.networks import read_part
from scarnode.training.settings import TrainSettings, preset
from scarnode.training.train import load_cases, train
from scarnode.util.errors import InputError

FINE_TUNING: dict[str, Any] = {"steps": 600, "rate": 3e-4, "average": 0.99, "decay": 0.5}
"""Deviations from a preset where training starts from given weights: shorter and gentler."""
SHIPPED = "shipped"


def plan(
    cases: Sequence[Path],
    out: Path,
    *,
    preset_name: str = "shipped",
    emidec: Path | None = None,
    acdc: Path | None = None,
    initial: str | None = None,
    steps: int | None = None,
    dims: int | None = None,
    seed: int = 0,
    threads: int = 0,
    held_out: float = 0.2,
) -> TrainSettings:
    """Return settings of a run.

    Parameters
    ----------
    cases : sequence of Path
        Folders for `scarnode.cases.read_cases`.
    out : Path
        Folder of the run.
    preset_name : str
        ``"shipped"``, ``"paper"`` or ``"finder"``.
    emidec, acdc : Path, optional
        Folders of the public sets.
    initial : str, optional
        ``"shipped"``, a weight file, or the folder of a run: fine-tune these. Its architecture counts.
    steps : int, optional
        The preset's, or fine-tuning's, by default.
    dims : int, optional
        2: every slice for itself, three times the windows in a batch.
    threads : int
        0: as many as there are cores.
    held_out : float
        Share of the patients that is kept for the evaluation.

    Raises
    ------
    InputError
        A value can not be used, or two do not go together.
    """
    if not 0 <= held_out < 1:
        raise InputError(f"the held-out share is {held_out}", "--held-out", "give 0 to below 1, for example 0.2")
    if dims not in (None, 2, 3):
        raise InputError(f"{dims} dimensions are asked for", "--dims", "give 2 or 3")
    if steps is not None and steps < 1:
        raise InputError(f"{steps} steps are asked for", "--steps", "give 1 or more")
    settings = preset(
        preset_name,
        out,
        emidec=emidec,
        acdc=acdc,
        folders=tuple(cases),
        held_out_share=held_out,
        seed=seed,
        threads=threads or torch.get_num_threads(),
        part="finder" if preset_name == "finder" else "outline",
    )
    if initial is not None:
        path = _resolve(initial)
        start = read_part(path, settings.part)
        settings = replace(settings, initial=path, unet=start.network.settings, spacing=start.spacing, **FINE_TUNING)
        if dims not in (None, settings.unet.dims):
            raise InputError(
                f"the weights to start from have {settings.unet.dims} dimensions, asked for are {dims}",
                "--dims",
                "leave --dims out, or train without --initial",
            )
    elif dims is not None and dims != settings.unet.dims:
        factor = 3 if dims == 2 else 1 / 3
        unet = replace(settings.unet, dims=dims)
        settings = replace(settings, unet=unet, batch=max(1, round(settings.batch * factor)))
    return settings if steps is None else replace(settings, steps=steps)


def train_and_pack(
    settings: TrainSettings,
    *,
    finder: str | None = None,
    command: str = "",
    progress: Callable[[int, float], None] | None = None,
    announce: Callable[[str], None] = lambda sentence: None,
) -> Path:
    """Train, evaluate on the held-out cases, and write ``weights.safetensors`` with its card into the run's folder.

    The other network of the file is taken from the weights that are the start, else from the shipped ones.

    Parameters
    ----------
    finder : str, optional
        Weight file or run folder that the finder is taken from, for a run that trains the outline.
    command : str
        What the card says.
    progress : callable, optional
        See `scarnode.training.train.train`.
    announce : callable, optional
        Called with a sentence on each stage.

    Returns
    -------
    Path
        The weight file.

    Raises
    ------
    InputError
        See `scarnode.training.train.train`.
    KeyboardInterrupt
        Training was stopped; the same call continues it.
    """
    started = settings.initial if settings.initial is not None and settings.initial.suffix == ".safetensors" else None
    other = started or shipped_weights()
    parts = {"finder": other, "outline": other}
    if finder is not None:
        if settings.part == "finder":
            raise InputError("this run trains the finder itself", "--finder", "leave it out")
        parts["finder"] = _resolve(finder)
    for part, path in parts.items():  # a missing file should not show after hours of training
        if part != settings.part:
            read_part(path, part)
    kinds, held = load_cases(settings)
    announce(_counts(kinds, held))
    train(settings, progress, (kinds, held))
    announce(f"evaluating {len(held)} held-out cases")
    parts[settings.part] = settings.out
    weights = settings.out / "weights.safetensors"
    draw_curve(settings.out)
    pack(
        parts["finder"],
        parts["outline"],
        held,
        weights,
        name=f"scarnode-unet{settings.unet.dims}d" if settings.part == "outline" else "scarnode-unet3d",
        version=_version(settings, kinds, read_card(started)["version"] if started else "0"),
        command=command,
        limits=[f"{_counts(kinds, held)}: nothing is known of other sites, scanners and diseases."],
        before=started,
    )
    return weights


def draw_curve(folder: Path) -> Path | None:
    """Draw the loss of a run's ``log.jsonl`` as ``loss.png``; None where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return None
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="step", ylabel="loss", title="Training loss")
    axes.plot([entry["step"] for entry in entries], [entry["loss"] for entry in entries])
    axes.grid(alpha=0.3)
    path = folder / "loss.png"
    figure.savefig(path, dpi=100)
    return path


def _resolve(given: str) -> Path:
    """Path of the weights that an option names.

    Raises
    ------
    InputError
        There is no such file.
    """
    path = shipped_weights() if given == SHIPPED else Path(given)
    if not path.exists():
        raise InputError(
            "there is no such file", given, f"give {SHIPPED!r}, a .safetensors file, or the folder of a run"
        )
    return path


def _version(settings: TrainSettings, kinds: list[list[Case]], started: str) -> str:
    """Version of the start and what was added: ``0.3.0+my_cases.600``."""
    names = sorted({case.source for cases in kinds for case in cases})
    added = re.sub(r"[^A-Za-z0-9_-]+", "-", "-".join(names))[:30]
    return f"{started.split('+', maxsplit=1)[0]}+{added}.{settings.steps}"


def _counts(kinds: list[list[Case]], held: list[Case]) -> str:
    """How many cases there are, for the screen and for the card."""
    cases = [case for kind in kinds for case in kind]
    sources = ", ".join(sorted({case.source for case in cases}))
    scarred = sum(case.has_scar for case in cases)
    return f"{len(cases)} cases of {sources} to train on, {scarred} with scar; {len(held)} held out"
