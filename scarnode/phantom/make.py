"""One seed in, one phantom out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from scarnode.phantom.anatomy import Heart, draw_heart
from scarnode.phantom.corrupt import Corruption, corrupt, draw_corruption, store
from scarnode.phantom.model import PATTERNS, PHENOTYPES, ComponentName, Phantom, PhantomSettings
from scarnode.phantom.render import TISSUES, SlicePlan, heart_fractions, labels_of
from scarnode.phantom.scar import LARGEST, Scar, draw_fraction, draw_scar
from scarnode.phantom.signal import Contrast, draw_contrast
from scarnode.phantom.surroundings import render_surroundings
from scarnode.util.errors import InputError

MATRICES = (192, 208, 224, 256, 320)
"""Usual numbers of columns."""


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute with one thread: rendering is many small steps: threads gain little alone and cost tenfold on a busy
    machine.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@_one_thread()
def make_phantom(seed: int, settings: PhantomSettings | None = None, device: torch.device | str = "cpu") -> Phantom:
    """Make a synthetic short-axis LGE stack of hypertrophic cardiomyopathy, with its truth.

    The same seed and settings give the same phantom. Anatomy, scar, contrast and corruption draw from streams
    of their own: changing one setting leaves the rest of a seed as it was.

    Parameters
    ----------
    seed : int
        0 or more.
    settings : PhantomSettings, optional
    device : torch.device or str
        Where to render.

    Returns
    -------
    Phantom
        Arrays on the CPU.

    Raises
    ------
    InputError
        If a setting is out of its range.
    """
    scene = _draw_scene(seed, settings or PhantomSettings())
    device = torch.device(device)
    plan, acquisition, contrast, settings = scene.plan, scene.acquisition, scene.contrast, scene.settings
    wrap = acquisition.wrap if settings.corruption else 0
    wide = _widened(plan, wrap, acquisition.phase_axis)
    fractions = heart_fractions(scene.heart, scene.scar, wide, scene.paint_rng, device)
    around = render_surroundings(scene.heart, wide, contrast.signals, scene.paint_rng, device)
    signal = _compose(fractions, around, contrast.signals, scene.paint_rng)
    label, right = labels_of(fractions)
    if wrap:
        size = plan.rows if acquisition.phase_axis == -2 else plan.columns
        label, right = (x.narrow(acquisition.phase_axis, wrap, size) for x in (label, right))
    if settings.corruption:
        image = corrupt(signal, plan.spacing, scene.component, acquisition, scene.corrupt_rng)
    else:
        image = signal if scene.component == "psir" else signal.abs()
        image = store(image, scene.component, 1.0, acquisition.full_scale)
    sequence = contrast.sequence
    first, second = scene.heart.insertions
    return Phantom(
        seed=seed,
        settings=settings,
        image=image.cpu().numpy().astype(np.float32),
        label=label.cpu().numpy(),
        right_ventricle=right.cpu().numpy(),
        pixel_spacing=(plan.spacing, plan.spacing),
        slice_distance=plan.distance,
        slice_thickness=plan.thickness,
        component=scene.component,
        phenotype=scene.heart.phenotype,
        pattern=scene.scar.pattern,
        insertion_angles=(plan.septum + first, plan.septum + second),
        inversion_time=round(sequence.inversion_time, 1),
        repetition_time=round(sequence.pulse_spacing, 2),
        echo_time=round(sequence.echo_time, 2),
        flip_angle=round(sequence.flip_angle, 1),
        rr_interval=round(contrast.rr_interval, 1),
        true_scar_volume=scene.scar.volume,
        true_myocardium_volume=scene.heart.myocardium_volume,
    )


@_one_thread()
def make_cine(phantom: Phantom, phases: int = 12, slices: int = 3) -> np.ndarray:
    """Return a cine of the phantom's heart: what a node must not take for LGE.

    Balanced steady-state contrast (bright blood, grey muscle); the wall thickens as the cavity shrinks.

    Parameters
    ----------
    phantom : Phantom
    phases : int
        Per heart beat.
    slices : int
        Positions, every second of the phantom's slices from the second on.

    Returns
    -------
    numpy.ndarray
        float32 whole numbers in 0..4095, shape (phases, slices, rows, columns).
    """
    scene = _draw_scene(phantom.seed, phantom.settings)
    device = torch.device("cpu")
    chosen = np.arange(1, len(scene.plan.positions), 2)[:slices]
    plan = replace(scene.plan, positions=scene.plan.positions[chosen], shifts=scene.plan.shifts[chosen])
    signals = dict.fromkeys(scene.contrast.signals, 0.3) | CINE_SIGNALS
    around = render_surroundings(scene.heart, plan, signals, scene.paint_rng, device)
    endo, epi = scene.heart.radii[0], scene.heart.radii[1]
    frames = []
    for phase in range(phases):
        inner = endo * (1 - 0.3 * np.sin(np.pi * phase / phases) ** 2)
        outer = np.sqrt(inner**2 + epi**2 - endo**2)  # the wall keeps its volume
        beaten = replace(scene.heart, radii=np.stack([inner, outer, *(scene.heart.radii[2:] - epi + outer)]))
        fractions = heart_fractions(beaten, scene.scar, plan, np.random.default_rng([phantom.seed, 1]), device)
        signal = _compose(fractions, around, signals, np.random.default_rng([phantom.seed, 2]))
        acquisition = replace(scene.acquisition, wrap=0, noise=0.02, gamma=1.0)
        frame_rng = np.random.default_rng([phantom.seed, 3])
        frames.append(corrupt(signal, plan.spacing, "magnitude", acquisition, frame_rng).numpy())
    return np.stack(frames).astype(np.float32)


CINE_SIGNALS = {
    "blood": 1.0,
    "myocardium": 0.32,
    "grey": 0.32,
    "dense": 0.32,
    "noreflow": 0.32,
    "fat": 0.9,
    "lung": 0.08,
    "air": 0.0,
    "liver": 0.4,
    "fluid": 1.1,
    "effusion": 1.1,
    "pericardium": 0.1,
}
"""Balanced steady-state signal per tissue (0.3 for the others), blood = 1."""


@dataclass(frozen=True)
class _Scene:
    """All that is drawn for a seed, before anything is rendered."""

    settings: PhantomSettings
    heart: Heart
    scar: Scar
    plan: SlicePlan
    acquisition: Corruption
    contrast: Contrast
    component: ComponentName
    paint_rng: np.random.Generator
    corrupt_rng: np.random.Generator


def _draw_scene(seed: int, settings: PhantomSettings) -> _Scene:
    _check(seed, settings)
    plan_rng, anatomy_rng, scar_rng, signal_rng, paint_rng, corrupt_rng = (
        np.random.default_rng(stream) for stream in np.random.SeedSequence([seed]).spawn(6)
    )
    heart = draw_heart(anatomy_rng, settings.phenotype)
    fraction = draw_fraction(scar_rng, settings.training, settings.scar_probability)
    if settings.scar_fraction is not None:
        fraction = settings.scar_fraction
    scar = draw_scar(scar_rng, heart, fraction, settings.pattern, settings.training)
    component: ComponentName = "magnitude" if plan_rng.random() < 0.65 else "psir"
    plan = _draw_plan(plan_rng, heart, settings)
    smaller = min(plan.rows, plan.columns)
    acquisition = draw_corruption(corrupt_rng, plan.spacing, smaller, settings.training, settings.snr)
    odds = settings.random_contrast
    if odds is None:
        odds = 0.3 if settings.training else 0.0
    contrast = draw_contrast(signal_rng, odds, acquisition.noise)
    return _Scene(
        settings, heart, scar, plan, acquisition, contrast, settings.component or component, paint_rng, corrupt_rng
    )


def _check(seed: int, settings: PhantomSettings) -> None:
    where = "phantom settings"
    if seed < 0:
        raise InputError(f"seed is {seed}", where, "give a whole number from 0 on")
    if settings.phenotype not in (None, *PHENOTYPES):
        raise InputError(f"unknown phenotype {settings.phenotype!r}", where, f"take one of {', '.join(PHENOTYPES)}")
    if settings.pattern not in (None, "infarct", *PATTERNS):
        raise InputError(
            f"unknown pattern {settings.pattern!r}", where, f"take infarct or one of {', '.join(PATTERNS)}"
        )
    if settings.scar_fraction is not None and not 0 <= settings.scar_fraction <= LARGEST:
        raise InputError(f"scar_fraction is {settings.scar_fraction}", where, f"give 0 to {LARGEST}")
    if settings.component not in (None, "magnitude", "psir"):
        raise InputError(f"unknown component {settings.component!r}", where, "take magnitude or psir")


def _draw_plan(rng: np.random.Generator, heart: Heart, settings: PhantomSettings) -> SlicePlan:
    """Lay the slices through the heart: 2D with 8 + 2 mm as a rule, thin 3D partitions in a fifth."""
    three_d = rng.random() < 0.2
    drawn_thickness = rng.uniform(3, 5) if three_d else float(rng.choice([6, 7, 8, 8, 8, 10]))
    thickness = settings.slice_thickness or round(drawn_thickness, 1)
    drawn_gap = 0.0 if three_d else float(rng.choice([0, 0, 1, 2, 2, 2, 4]))
    distance = settings.slice_distance or (thickness + drawn_gap)
    beyond = rng.uniform(-0.3, 1.4, 2) * min(distance, 12)
    count = int(np.clip(np.ceil((heart.apex + beyond.sum()) / distance), 2, 40))
    first = -beyond[0] + distance / 2
    if settings.slices:
        # As many slices as asked for, their middle on the middle of what would have been covered.
        first += (count - settings.slices) / 2 * distance
        count = settings.slices
    columns = int(rng.choice(MATRICES))
    rows = int(round(columns * rng.choice([1.0, 0.9, 0.8125, 0.75]) / 8) * 8)
    field = rng.uniform(290, 410)
    rows, columns = settings.matrix or (rows, columns)
    spacing = settings.pixel_spacing or round(float(np.clip(field / max(rows, columns), 0.7, 2.2)), 4)
    off = np.clip(rng.normal(0, 12, 2), -25, 25)
    half_field = np.array([rows, columns]) * spacing / 2
    off = np.clip(off, -0.3 * half_field, 0.3 * half_field)
    shifts = rng.normal(0, 1.8, (count, 2))
    outlier = rng.random(count) < 0.03
    shifts[outlier] += rng.uniform(5, 10, (int(outlier.sum()), 1)) * rng.choice([-1, 1], (int(outlier.sum()), 2)) * 0.7
    if not settings.corruption:
        shifts[:] = 0
    return SlicePlan(
        rows=rows,
        columns=columns,
        spacing=spacing,
        positions=first + distance * np.arange(count),
        thickness=thickness,
        distance=distance,
        center=(rows / 2 + off[0] / spacing, columns / 2 + off[1] / spacing),
        septum=np.pi + rng.normal(0.15, 0.4),
        tilt=tuple(np.clip(rng.normal(0, np.deg2rad(5), 2), -np.deg2rad(10), np.deg2rad(10))),
        shifts=shifts,
    )


def _widened(plan: SlicePlan, wrap: int, phase_axis: int) -> SlicePlan:
    """Return the plan with `wrap` more pixels at each end of the phase axis, to be folded back."""
    if not wrap:
        return plan
    row, column = plan.center
    if phase_axis == -2:
        return replace(plan, rows=plan.rows + 2 * wrap, center=(row + wrap, column))
    return replace(plan, columns=plan.columns + 2 * wrap, center=(row, column + wrap))


def _compose(fractions: Tensor, around: Tensor, signals: dict[str, float], rng: np.random.Generator) -> Tensor:
    """Lay the heart over its surroundings: sum of fraction x signed signal, so that voxels mix before rectification."""
    same = {"rv_blood": "blood", "muscle": "myocardium"}
    values = torch.tensor([signals[same.get(name, name)] for name in TISSUES], device=fractions.device)
    heart = torch.tensordot(values, fractions[: len(TISSUES)], dims=1)
    filled = fractions[: len(TISSUES)].sum(0).clamp(0, 1)
    slow = _texture(rng, heart, 14)
    grain = _texture(rng, heart, int(heart.shape[-1] / 2.5))
    heart = (
        heart * (1 + rng.uniform(0, 0.07) * slow + rng.uniform(0, 0.07) * grain) + rng.uniform(0, 0.04) * slow * filled
    )
    return heart + (1 - filled) * around


def _texture(rng: np.random.Generator, like: Tensor, knots: int) -> Tensor:
    """Smooth random field of about unit SD with `knots` grains across the image, a new one in each slice."""
    field = torch.from_numpy(rng.standard_normal((1, len(like), knots, knots), dtype=np.float32)).to(like.device)
    return torch.nn.functional.interpolate(field, size=like.shape[-2:], mode="bilinear", align_corners=False)[0] * 1.3
