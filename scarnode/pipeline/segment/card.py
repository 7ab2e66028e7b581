"""The model card beside a weight file, and the check that both belong together. Needs no torch."""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from pathlib import Path

from scarnode.pipeline.segment.model import ModelIdentity
from scarnode.util.errors import WeightsError


def shipped_weights() -> Path:
    """Return the weights that come with scarnode: the installed package's, else the checkout's ``model_weights/``."""
    try:
        return Path(str(resources.files("scarnode.model_weights").joinpath("scarnode.safetensors")))
    except ModuleNotFoundError:
        return Path(__file__).resolve().parents[3] / "model_weights" / "scarnode.safetensors"


def read_card(path: Path) -> dict:
    """Card that stands beside the weight file `path`.

    Raises
    ------
    WeightsError
        The card is missing, is not JSON, or lacks what is needed to use the weights.
    """
    card_path = path.with_suffix(".json")
    todo = "put the card that came with the weights beside them, under the same name"
    if not card_path.is_file():
        raise WeightsError("the model card is missing", str(card_path), todo)
    try:
        card = json.loads(card_path.read_text(encoding="utf-8"))
        needed = {"name", "version", "sha256", "training_data", "architecture"}
        missing = needed - set(card)
    except (ValueError, TypeError) as error:
        raise WeightsError(f"the model card is not readable as JSON ({error})", str(card_path), todo) from error
    if missing:
        raise WeightsError(f"the model card lacks {', '.join(sorted(missing))}", str(card_path), todo)
    return card


def read_checked(path: Path) -> tuple[bytes, dict]:
    """Content of the weight file `path` and its card, after the digest was compared.

    Raises
    ------
    WeightsError
        File or card missing, or the file's sha256 is not the card's.
    """
    if not path.is_file():
        raise WeightsError(
            "the weight file is missing", str(path), "check [segment] weights, or install scarnode again"
        )
    card = read_card(path)
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != card["sha256"]:
        raise WeightsError(
            f"sha256 is {digest[:16]}..., the card says {str(card['sha256'])[:16]}...",
            str(path),
            "the file is damaged or is not the one its card describes: copy both again from where they came",
        )
    return content, card


def read_identity(weights: Path | None = None) -> ModelIdentity:
    """Which network a weight file holds (the shipped one by default), without loading it.

    Raises
    ------
    WeightsError
        As `read_checked`.
    """
    _, card = read_checked(Path(weights) if weights is not None else shipped_weights())
    return ModelIdentity(card["name"], card["version"], card["sha256"], card["training_data"])
