"""A trained network and where it comes from: what a weight file is packed from, and what fine-tuning starts from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scarnode.cases.model import Case
from scarnode.pipeline.segment.card import read_card
from scarnode.pipeline.segment.unet import UNet, UNetSettings
from scarnode.pipeline.segment.weights import PARTS, read_weights
from scarnode.training.checkpoint import read_checkpoint
from scarnode.util.errors import InputError, WeightsError

LICENCES = {
    "emidec": "EMIDEC training set (Lalande et al., Data 2020;5(4):89), CC BY-NC-SA 4.0",
    "acdc": "ACDC (Bernard et al., IEEE TMI 2018;37:2514), CC BY-NC-SA 4.0",
}
"""Where the public sets come from; weights trained with them carry their licence."""
OPEN_NAMES = {*LICENCES, "phantoms"}
"""Sets whose case names are no secret."""


@dataclass(frozen=True)
class Origin:
    """All that a network was ever trained with, itself and the weights it started from.

    Attributes
    ----------
    identity : dict
        Name, version and sha256 of the file it came from.
    steps : int
        Of its last training.
    settings : dict
        Of its last training.
    trained_on : dict
        Cases by source.
    held_out : tuple of str
        Cases of these sources that it never saw, as `case_label` names them.
    sources : tuple of str
        Sets whose licence it carries, each with its licence.
    licence : str
        That the weights it came from were given under; empty where they had none of their own.
    limits : tuple of str
        From the card of the weights that it came from.
    started_from : dict or None
        `identity` of the weights where the last training began.
    """

    identity: dict[str, str]
    steps: int
    settings: dict[str, Any]
    trained_on: dict[str, int]
    held_out: tuple[str, ...]
    sources: tuple[str, ...]
    licence: str = ""
    limits: tuple[str, ...] = ()
    started_from: dict[str, str] | None = None

    def knows(self, case: Case) -> bool:
        """Return whether the network may have been trained on a case."""
        return case.source in self.trained_on and case_label(case.source, case.name) not in self.held_out


@dataclass(frozen=True)
class Part:
    """One of the two networks of a weight file.

    Attributes
    ----------
    network : UNet
        In float32 on the CPU.
    spacing : float
        Pixel size of its grid, mm.
    origin : Origin
    """

    network: UNet
    spacing: float
    origin: Origin


def case_label(source: str, name: str) -> str:
    """Name of a case that may be published: the names of a hospital's own files stay at home.

    >>> case_label("emidec", "Case_N032"), case_label("ours", "Jane Doe")
    ('emidec/Case_N032', 'ours/a80b15cb8c90')
    """
    shown = name if source in OPEN_NAMES else hashlib.sha256(f"{source}/{name}".encode()).hexdigest()[:12]
    return f"{source}/{shown}"


def read_part(path: Path, part: str) -> Part:
    """Read a network.

    Parameters
    ----------
    path : Path
        A weight file (``.safetensors``, its card beside it), a folder that `scarnode.training.train.train` wrote, or
        the
        checkpoint in such a folder.
    part : str
        ``"finder"`` or ``"outline"``: which one of a weight file.

    Raises
    ------
    InputError, WeightsError
        The file is missing or can not be read.
    """
    path = Path(path)
    if part not in PARTS:
        raise ValueError(f"part is {part!r}, allowed are {', '.join(PARTS)}")
    if path.suffix == ".safetensors":
        return _from_weights(path, part)
    return _from_run(path / "checkpoint.pt" if path.is_dir() else path)


def merged(own: Mapping[str, int], held_out: Iterable[str], start: Origin | None) -> tuple[dict[str, int], list[str]]:
    """Cases by source that a run and the weights it started from were trained on, and what neither was.

    Parameters
    ----------
    own : mapping
        The run's training cases by source.
    held_out : iterable of str
        The run's held-out cases, as `case_label` names them.
    """
    if start is None:
        return dict(own), sorted(held_out)
    trained = {key: max(own.get(key, 0), start.trained_on.get(key, 0)) for key in {**start.trained_on, **own}}
    theirs = set(start.held_out)

    def source(label: str) -> str:
        return label.split("/", 1)[0]

    kept = {label for label in held_out if source(label) not in start.trained_on or label in theirs}
    return trained, sorted(kept | {label for label in theirs if source(label) not in own})


def _from_run(path: Path) -> Part:
    stored = read_checkpoint(path)
    settings_file = path.parent / "settings.json"
    if not settings_file.is_file():
        raise InputError("settings.json is missing beside the checkpoint", str(path), "keep the run's folder whole")
    settings = json.loads(settings_file.read_text(encoding="utf-8"))
    network = UNet(UNetSettings(**stored["unet"])).eval()
    network.load_state_dict(stored["average"])
    own, held = settings.pop("trained_on"), settings.pop("held_out")
    start = settings.pop("start", None)
    start = None if start is None else _origin(start)
    trained, held_out = merged(own, [case_label(*name.split("/", 1)) for name in held], start)
    # Paths of the training machine say nothing to a reader.
    for key in ("out", "emidec", "acdc", "folders", "initial", "threads"):
        settings.pop(key, None)
    sources = {LICENCES[source] for source in own if source in LICENCES} | set(start.sources if start else ())
    origin = Origin(
        {"name": "a checkpoint", "version": str(stored["step"]), "sha256": ""},
        stored["step"],
        {**settings, "trained_on": own},
        trained,
        tuple(held_out),
        tuple(sorted(sources)),
        start.licence if start else "",
        start.limits if start else (),
        start.identity if start else None,
    )
    return Part(network, float(stored["spacing"]), origin)


def _from_weights(path: Path, part: str) -> Part:
    weights, card = read_weights(path), read_card(path)
    network = weights.finder if part == "finder" else weights.outline
    spacing = weights.finder_spacing if part == "finder" else weights.outline_spacing
    try:
        training = card.get("training", {}).get(part, {})
        data = card["data"]
        trained = dict(data["cases_trained_on"][part])
        origin = Origin(
            {key: str(card[key]) for key in ("name", "version", "sha256")},
            int(training.get("steps", 0)),
            dict(training.get("settings", {})),
            trained,
            tuple(data["held_out"]),
            tuple(data["sources"]),
            str(card.get("licence", "")),
            tuple(card.get("limits", ())),
            training.get("started_from"),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(
            f"the model card does not say what the weights were trained on ({error})",
            str(path.with_suffix(".json")),
            "take weights whose card has data: sources, cases_trained_on and held_out",
        ) from error
    return Part(network, spacing, origin)


def _origin(stored: Mapping[str, Any]) -> Origin:
    """Return an origin as it was before JSON made lists of its tuples."""
    lists = {key: tuple(stored[key]) for key in ("held_out", "sources", "limits")}
    return Origin(**{**stored, **lists})
