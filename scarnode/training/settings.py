"""What a training run depends on, and the recipes that have a name."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from scarnode.pipeline.segment.heart import FINDER_CLASSES
from scarnode.pipeline.segment.unet import UNetSettings
from scarnode.util.errors import InputError


@dataclass(frozen=True)
class TrainSettings:
    """Everything a training run depends on.

    Attributes
    ----------
    out : Path
        Folder for ``checkpoint.pt``, ``log.jsonl`` and ``settings.json``. A checkpoint found there is continued.
    emidec, acdc : Path or None
        Folders of the two public sets.
    folders : tuple of Path
        Further folders of cases (`scarnode.cases.read_cases`): phantoms, a hospital's own contours.
    held_out_share : float
        Share of the patients that is kept for the evaluation, 0 to below 1.
    shares : tuple of float
        How often windows come from emidec, from painted acdc, from `folders`; sets that are absent give up theirs.
    unet : UNetSettings
    spacing : float
        Pixel size of the network's grid, mm.
    canvas, size, crop : int
        Pixels of the patch kept per case, of the augmented window, and of the piece of it that is trained on.
    shift : float
        Largest displacement of the heart from the window's centre, pixels.
    augment : str
        ``"strong"`` or ``"paper"`` (translation, rotation, mirroring only).
    plain : float
        Share of the windows whose brightness stays as it is under ``"strong"``.
    loss : str
        ``"ce_dice"`` or ``"paper"`` (cross entropy, each window weighted by log(10 + scar volume in pixels)).
    painted_per_case : int
        LGE looks painted for each cine case.
    cine_share, inverted : float
        Share of the cine cases that stay cine, and of the windows with inverted contrast (for the heart finder).
    batch, steps, seed, threads : int
    rate : float
        Learning rate; warms up over 100 steps (a tenth of a shorter run)
        and falls linearly to zero over the last `decay` of all steps.
    weight_decay, average : float
        AdamW's weight decay, and the decay of the exponential moving average of the weights (0: none).
    part : str
        ``"outline"`` or ``"finder"``: which network of a weight file `initial` is the start.
    initial : Path or None
        Weight file, run folder or checkpoint whose weights are the start (fine-tuning).
    """

    out: Path
    emidec: Path | None = None
    acdc: Path | None = None
    folders: tuple[Path, ...] = ()
    held_out_share: float = 0.2
    shares: tuple[float, float, float] = (0.55, 0.25, 0.2)
    unet: UNetSettings = field(default_factory=UNetSettings)
    spacing: float = 1.4
    canvas: int = 176
    size: int = 128
    crop: int = 96
    shift: float = 12.0
    augment: str = "strong"
    plain: float = 0.3
    loss: str = "ce_dice"
    painted_per_case: int = 4
    cine_share: float = 0.0
    inverted: float = 0.0
    batch: int = 4
    steps: int = 12000
    rate: float = 2e-3
    decay: float = 0.3
    weight_decay: float = 1e-2
    average: float = 0.999
    seed: int = 0
    threads: int = 2
    part: str = "outline"
    initial: Path | None = None


PRESETS: dict[str, dict] = {
    "shipped": {"unet": UNetSettings(planar=2)},
    "finder": {
        "unet": UNetSettings(dims=2, width=16, classes=FINDER_CLASSES),
        "spacing": 3.0,
        "canvas": 160,
        "shift": 36.0,
        "cine_share": 0.4,
        "inverted": 0.05,
        "shares": (0.45, 0.4, 0.15),
        "batch": 12,
    },
    "paper": {"augment": "paper", "loss": "paper", "average": 0.0, "weight_decay": 0.0, "crop": 128},
}
"""Deviations from the defaults: the shipped recipe; the network that finds the heart; the publication's recipe."""


def preset(name: str, out: Path, **changes: object) -> TrainSettings:
    """Return settings of a preset, with changes."""
    if name not in PRESETS:
        raise InputError(f"unknown preset {name!r}", "train", f"choose one of {', '.join(PRESETS)}")
    return replace(TrainSettings(out=out), **{**PRESETS[name], **changes})
