"""The weight file and its card: one safetensors file with both networks, one JSON file beside it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load, save

from scarnode import RESEARCH_USE
from scarnode.pipeline.segment.card import read_checked
from scarnode.pipeline.segment.certainty import Calibration
from scarnode.pipeline.segment.model import ModelIdentity
from scarnode.pipeline.segment.unet import UNet, UNetSettings
from scarnode.util.errors import WeightsError

PARTS = ("finder", "outline")
"""Prefixes in the file: the network that finds the heart, and the one that outlines it."""


@dataclass(frozen=True)
class Weights:
    """Two networks ready for use, and who they are.

    Attributes
    ----------
    finder, outline : UNet
        In evaluation mode, float32, on the CPU.
    finder_spacing, outline_spacing : float
        Pixel size of each network's grid, mm.
    identity : ModelIdentity
    calibration : Calibration or None
        None where the card holds none.
    """

    finder: UNet
    outline: UNet
    finder_spacing: float
    outline_spacing: float
    identity: ModelIdentity
    calibration: Calibration | None


def read_weights(path: Path) -> Weights:
    """Read and check a weight file.

    Raises
    ------
    WeightsError
        File or card missing, the file's sha256 is not the card's, or the tensors do not fit the card's architecture.
    """
    content, card = read_checked(path)
    networks, spacings = {}, {}
    try:
        tensors = load(content)
        for part in PARTS:
            described = dict(card["architecture"][part])
            spacings[part] = float(described.pop("spacing"))
            networks[part] = UNet(UNetSettings(**described)).eval()
            prefix = f"{part}."
            own = {key.removeprefix(prefix): t.float() for key, t in tensors.items() if key.startswith(prefix)}
            counters = {k: t for k, t in networks[part].state_dict().items() if k.endswith("num_batches_tracked")}
            networks[part].load_state_dict({**counters, **own})
    except Exception as error:  # safetensors, torch and the settings each raise their own kinds
        raise WeightsError(
            f"the tensors do not fit the architecture in the card ({str(error).splitlines()[0]})",
            str(path),
            "use the card that belongs to these weights and a scarnode version that knows this architecture",
        ) from error
    identity = ModelIdentity(card["name"], card["version"], card["sha256"], card["training_data"])
    return Weights(
        networks["finder"],
        networks["outline"],
        spacings["finder"],
        spacings["outline"],
        identity,
        Calibration.from_card(card),
    )


def write_weights(
    path: Path,
    finder: tuple[UNet, float],
    outline: tuple[UNet, float],
    *,
    name: str,
    version: str,
    training_data: str,
    card: dict,
) -> None:
    """Write both networks (each with its pixel size in mm) as float16 safetensors, and the card with the file's digest.

    Parameters
    ----------
    card : dict
        What else the card says: data with licences, date, command, metrics, limits.
    """
    tensors, architecture = {}, {}
    for part, (network, spacing) in zip(PARTS, (finder, outline), strict=True):
        for key, tensor in network.state_dict().items():
            if not key.endswith("num_batches_tracked"):
                tensors[f"{part}.{key}"] = tensor.detach().cpu().to(torch.float16).contiguous()
        architecture[part] = {**asdict(network.settings), "spacing": spacing}
    content = save(tensors)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    written = {
        "name": name,
        "version": version,
        "use": RESEARCH_USE,
        "sha256": hashlib.sha256(content).hexdigest(),
        "training_data": training_data,
        "architecture": architecture,
        **card,
    }
    path.with_suffix(".json").write_text(json.dumps(written, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
