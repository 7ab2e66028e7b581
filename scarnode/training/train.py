"""Training, from top to bottom: data, loss, loop. Writes checkpoints that `scarnode.training.export`
packs.
"""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from scarnode.cases import read_cases
from scarnode.cases.model import Case, on_grid, read_acdc, read_emidec, split
from scarnode.pipeline.segment.engine import best_dtype
from scarnode.pipeline.segment.heart import FINDER_CLASSES, RIGHT_VENTRICLE
from scarnode.pipeline.segment.model import Tissue
from scarnode.pipeline.segment.unet import UNet
from scarnode.pipeline.segment.windows import DEPTH, normalise, window_indices
from scarnode.training import augment
from scarnode.training.checkpoint import (
    check_cases,
    check_settings,
    digest_of,
    made_with,
    read_checkpoint,
    write_checkpoint,
)
from scarnode.training.networks import Part, read_part
from scarnode.training.settings import TrainSettings
from scarnode.training.synthetic_scar import add_synthetic_scar, synthesise_lge
from scarnode.util.durable import replace_durably
from scarnode.util.errors import InputError

log = logging.getLogger(__name__)

UNKNOWN = FINDER_CLASSES
"""Target of the finder where a set does not outline the right ventricle: background or right ventricle."""


@dataclass(frozen=True)
class TrainingSet:
    """Cases of one kind, on the network's grid: image float16, label uint8, (slices, rows, columns)."""

    images: tuple[torch.Tensor, ...]
    labels: tuple[torch.Tensor, ...]
    share: float


def load_cases(settings: TrainSettings) -> tuple[list[list[Case]], list[Case]]:
    """Training cases by kind (emidec, acdc, folders) and all held-out cases.

    Which cases are held out depends on their names and the share alone, not on the seed: weights that start from others
    keep their held-out cases.

    Raises
    ------
    InputError
        There is no case, or two folders bear one name.
    """
    kinds: list[list[Case]] = [[], [], []]
    held: list[Case] = []
    sets = [(0, settings.emidec, read_emidec), (1, settings.acdc, read_acdc)]
    sets += [(2, folder, read_cases) for folder in settings.folders]
    names = Counter(Path(folder).resolve().name for folder in settings.folders)
    if twice := [name for name, count in names.items() if count > 1]:
        raise InputError("two folders of cases bear this name", twice[0], "rename one: the name tells the sets apart")
    for kind, folder, read in sets:
        if folder is not None:
            training, kept = split(read(folder), held_out=settings.held_out_share)
            kinds[kind] += training
            held += kept
    if not any(kinds):
        raise InputError("no case to train on", "train", "name a folder of cases")
    return kinds, held


def prepare_training_sets(settings: TrainSettings, kinds: list[list[Case]]) -> list[TrainingSet]:
    """Resample all cases and synthesise their LGE once, so that a training step only augments."""
    rng = np.random.default_rng(settings.seed)
    emidec, acdc, other = ([on_grid(case, settings.spacing, settings.canvas) for case in cases] for cases in kinds)
    if settings.augment == "strong":
        emidec = emidec + [add_synthetic_scar(case, rng) for case in emidec if not case.has_scar]
        painted = [synthesise_lge(case, rng) for case in acdc for _ in range(settings.painted_per_case)]
        acdc = painted + acdc * round(settings.painted_per_case * settings.cine_share / (1 - settings.cine_share))
    groups = [(share, cases) for share, cases in zip(settings.shares, (emidec, acdc, other), strict=True) if cases]
    total = sum(share for share, _ in groups)
    return [
        TrainingSet(
            tuple(torch.from_numpy(_storable(case.image)) for case in cases),
            tuple(torch.from_numpy(_targets(case, settings.unet.classes)) for case in cases),
            share / total,
        )
        for share, cases in groups
    ]


def draw(settings: TrainSettings, stocks: list[TrainingSet], step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (batch, 1, slices, rows, columns) and labels (batch, slices, rows, columns) of one step.

    Depends on the seed and the step only, so that a continued run sees what an unbroken one would.
    """
    rng = np.random.default_rng((settings.seed, step))
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    strong = settings.augment == "strong"
    images, labels = [], []
    for _ in range(settings.batch):
        stock = stocks[rng.choice(len(stocks), p=[s.share for s in stocks])]
        case = int(rng.integers(len(stock.images)))
        chosen = _draw_slices(len(stock.images[case]), settings.unet.dims, strong, rng)
        images.append(stock.images[case][chosen].float())
        labels.append(stock.labels[case][chosen])
    image, label = torch.stack(images), torch.stack(labels)
    image, label = augment.place(image, label, settings.size, settings.shift, generator, warp=strong)
    image = augment.recolour(image, label, generator, settings.plain) if strong else normalise(image)
    image = torch.where(torch.rand(len(image), 1, 1, 1, generator=generator) < settings.inverted, -image, image)
    image, label = augment.crop(image, label, settings.crop, generator)
    return image.unsqueeze(1), label.long()


def loss_of(settings: TrainSettings, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Training loss of a batch."""
    likely = logits.log_softmax(dim=1)
    if logits.shape[1] == FINDER_CLASSES:
        either = likely[:, [Tissue.BACKGROUND, RIGHT_VENTRICLE]].logsumexp(dim=1, keepdim=True)
        likely = torch.cat([likely, either], dim=1)  # the value of UNKNOWN
    entropy = F.nll_loss(likely, label, reduction="none")
    if settings.loss == "paper":
        scar = (label == Tissue.SCAR).sum((1, 2, 3)).float()
        return (entropy.mean((1, 2, 3)) * torch.log(10 + scar)).mean()
    # Dice over the batch as one volume, so that windows without scar count by what they call scar.
    probability = likely[:, 1 : logits.shape[1]].exp() * (label != UNKNOWN).unsqueeze(1)
    truth = F.one_hot(label, likely.shape[1]).movedim(-1, 1)[:, 1 : logits.shape[1]].to(probability)
    overlap = (probability * truth).sum((0, 2, 3, 4))
    size = probability.sum((0, 2, 3, 4)) + truth.sum((0, 2, 3, 4))
    return entropy.mean() + (1 - (2 * overlap + 20) / (size + 20)).mean()


def train(
    settings: TrainSettings,
    progress: Callable[[int, float], None] | None = None,
    cases: tuple[list[list[Case]], list[Case]] | None = None,
) -> Path:
    """Train a network, or continue; returns the checkpoint.

    GPU when there is one, else CPU; in bfloat16 where the processor multiplies it itself. Every 100 steps, at the end
    and when SIGINT comes (Ctrl-C), ``checkpoint.pt`` is replaced as a whole.

    Parameters
    ----------
    settings : TrainSettings
    progress : callable, optional
        Called after every step with the steps done and the loss.
    cases : tuple, optional
        What `load_cases` gave, where the caller has it already.

    Raises
    ------
    InputError
        No case can be used; the checkpoint in `settings.out` was made with other settings or cases; `initial` has
        another architecture.
    KeyboardInterrupt
        After the checkpoint was written.
    """
    settings.out.mkdir(parents=True, exist_ok=True)
    path, origin = settings.out / "checkpoint.pt", made_with(settings)
    start = None if settings.initial is None else read_part(settings.initial, settings.part)
    stored = read_checkpoint(path) if path.is_file() else None
    if stored is not None:
        check_settings(stored, origin, settings.steps, path)
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kinds, held = cases or load_cases(settings)
    digest = digest_of([*kinds, held])
    if stored is not None:
        check_cases(stored, digest, path)
    run = _begin(settings, start, stored, device)
    _describe(settings, kinds, held, start)
    stocks = prepare_training_sets(settings, kinds)
    first, began, losses = run.done, time.monotonic(), []
    every = max(1, min(50, settings.steps // 20))
    about = {"unet": asdict(settings.unet), "spacing": settings.spacing, "settings": origin, "cases": digest}
    ahead = ThreadPoolExecutor(max_workers=1)
    drawn = ahead.submit(draw, settings, stocks, first)
    with _held_back_interrupt() as interrupted:
        while run.done < settings.steps and not interrupted.is_set():
            image, label = (tensor.to(device) for tensor in drawn.result())
            drawn = ahead.submit(draw, settings, stocks, run.done + 1)  # while the network works on this one
            losses.append(_step(settings, run, image, label))
            if progress is not None:
                progress(run.done, losses[-1])
            last = run.done == settings.steps or interrupted.is_set()
            if run.done % every == 0 or last:
                _report(settings, run.done, float(np.mean(losses)), (time.monotonic() - began) / (run.done - first))
                losses = []
            if run.done % 100 == 0:
                write_checkpoint(path, {**run.state(), **about})
        if run.done > first:
            write_checkpoint(path, {**run.state(), **about})
    ahead.shutdown(cancel_futures=True)
    if interrupted.is_set():
        raise KeyboardInterrupt
    return path


@dataclass
class _Run:
    """What a step changes."""

    network: UNet
    average: UNet
    optimiser: torch.optim.Optimizer
    done: int = 0

    def state(self) -> dict[str, Any]:
        parts: dict[str, Any] = {"network": self.network, "average": self.average, "optimiser": self.optimiser}
        return {**{name: part.state_dict() for name, part in parts.items()}, "step": self.done}


def _begin(settings: TrainSettings, start: Part | None, stored: dict[str, Any] | None, device: torch.device) -> _Run:
    """Networks and optimiser: of the checkpoint, else of the weights that are the start, else drawn."""
    network, average = UNet(settings.unet).to(device), UNet(settings.unet).to(device)
    optimiser = torch.optim.AdamW(network.parameters(), settings.rate, weight_decay=settings.weight_decay)
    run = _Run(network, average, optimiser)
    if start is not None:
        if start.network.settings != settings.unet:
            raise InputError(
                f"these weights have the architecture {start.network.settings}, asked for is {settings.unet}",
                str(settings.initial),
                "leave the architecture to the weights that are the start",
            )
        network.load_state_dict(start.network.state_dict())
    average.load_state_dict(network.state_dict())
    if stored is not None:
        network.load_state_dict(stored["network"])
        average.load_state_dict(stored["average"])
        optimiser.load_state_dict(stored["optimiser"])
        run.done = stored["step"]
        _forget_after(settings.out / "log.jsonl", run.done)
    network.train()
    return run


def _step(settings: TrainSettings, run: _Run, image: torch.Tensor, label: torch.Tensor) -> float:
    """Learn from one batch; returns the loss."""
    for group in run.optimiser.param_groups:
        group["lr"] = settings.rate * _schedule(settings, run.done)
    # emulated, bfloat16 takes eleven times as long as float32
    with torch.autocast(image.device.type, torch.bfloat16, enabled=best_dtype(image.device) == torch.bfloat16):
        logits = run.network(image)
    loss = loss_of(settings, logits.float(), label)
    run.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(run.network.parameters(), 5.0)
    run.optimiser.step()
    run.done += 1
    _follow(run.average, run.network, min(settings.average, run.done / (run.done + 9)))
    return loss.item()


@contextmanager
def _held_back_interrupt() -> Iterator[threading.Event]:
    """Turn the first SIGINT into an event, so that no step is cut in two; a second one ends the program."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = signal.getsignal(signal.SIGINT)

    def note(*_: object) -> None:
        event.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, note)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)


def _describe(settings: TrainSettings, kinds: list[list[Case]], held: list[Case], start: Part | None) -> None:
    """Write what the run depends on, for the model card."""
    written = {
        **asdict(settings),
        "trained_on": Counter(case.source for cases in kinds for case in cases),
        "held_out": sorted(f"{case.source}/{case.name}" for case in held),
        "start": None if start is None else asdict(start.origin),
    }
    text = json.dumps(written, indent=1, default=str)
    replace_durably(settings.out / "settings.json", [text.encode()])  # names of cases may be those of patients


def _report(settings: TrainSettings, done: int, loss: float, pace: float) -> None:
    """One line into the run's log, which plots, and into the program's."""
    entry = {"step": done, "loss": round(loss, 4), "seconds_per_step": round(pace, 3)}
    with (settings.out / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
    log.info("step %d of %d, loss %.4f, %.2f s per step", done, settings.steps, loss, pace)


def _forget_after(path: Path, step: int) -> None:
    """Drop what a run that was killed wrote into its log after its last checkpoint."""
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
        path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def _draw_slices(slices: int, dims: int, strong: bool, rng: np.random.Generator) -> list[int]:
    if dims == 2:
        return [int(rng.integers(slices))]
    if not strong:
        windows = window_indices(slices)
        return windows[int(rng.integers(len(windows)))]
    step = 2 if rng.random() < 0.3 else 1  # stacks with every second slice missing, or a large slice distance
    middle = int(rng.integers(slices))
    chosen = [min(max(middle + step * (i - DEPTH // 2), 0), slices - 1) for i in range(DEPTH)]
    return chosen[::-1] if rng.random() < 0.5 else chosen


def _schedule(settings: TrainSettings, step: int) -> float:
    """Share of the learning rate: warm-up, plateau, linear fall to zero."""
    warm, fall = min(100, settings.steps // 10 + 1), max(settings.decay * settings.steps, 1)
    return min(1.0, (step + 1) / warm, (settings.steps - step) / fall)


@torch.no_grad()
def _follow(average: UNet, network: UNet, decay: float) -> None:
    """Exponential moving average of weights and of the normalisation's statistics."""
    for mean, now in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(now, 1 - decay)
        else:
            mean.copy_(now)


def _targets(case: Case, classes: int) -> np.ndarray:
    """Labels that a network of so many classes is trained on: the finder's know the right ventricle."""
    if classes != FINDER_CLASSES:
        return case.label
    background = case.label == Tissue.BACKGROUND
    if case.right_ventricle is None:
        return np.where(background, UNKNOWN, case.label).astype(np.uint8)
    return np.where(background & case.right_ventricle, RIGHT_VENTRICLE, case.label).astype(np.uint8)


def _storable(image: np.ndarray) -> np.ndarray:
    """Scaled into float16's range."""
    return (image / max(float(np.abs(image).max()), 1e-6)).astype(np.float16)
