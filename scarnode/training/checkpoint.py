"""The checkpoint of a training run: written whole, read with a clear error, continued only by the run that began it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from scarnode.cases.model import Case
from scarnode.training.settings import TrainSettings
from scarnode.util.errors import InputError

_FREE = ("out", "threads", "steps", "emidec", "acdc", "folders", "initial")
"""Settings that a continued run may change; the cases and the start are compared by what they hold."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Content of a checkpoint, on the CPU.

    Raises
    ------
    InputError
        It is missing or damaged.
    """
    if not path.is_file():
        raise InputError("there is no such checkpoint", str(path), "give a folder that `scarnode train` wrote")
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except (RuntimeError, EOFError, UnpicklingError, OSError, ValueError) as error:
        raise InputError("the checkpoint can not be read", str(path), "take another; this one is damaged") from error


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Replace the checkpoint as a whole."""
    torch.save(content, f"{path}.tmp")
    Path(f"{path}.tmp").replace(path)


def made_with(settings: TrainSettings) -> dict[str, Any]:
    """Return what a continued run must share with its first part, as plain values.

    Raises
    ------
    InputError
        `settings.initial` is missing.
    """
    given = {key: value for key, value in asdict(settings).items() if key not in _FREE}
    initial = None
    if (start := settings.initial) is not None:
        file = start / "checkpoint.pt" if start.is_dir() else start
        if not file.is_file():
            raise InputError("there is no such file", str(file), "give a weight file or the folder of a run")
        initial = hashlib.sha256(file.read_bytes()).hexdigest()
    return json.loads(json.dumps({**given, "initial": initial}))


def check_settings(stored: dict[str, Any], now: dict[str, Any], steps: int, path: Path) -> None:
    """Refuse to continue what was begun otherwise.

    Raises
    ------
    InputError
        A setting differs, or the checkpoint has more than `steps` steps.
    """
    then = stored.get("settings", {})
    changed = [f"{key} was {then[key]}, now {now[key]}" for key in now if key in then and then[key] != now[key]]
    if changed:
        raise InputError(
            f"the checkpoint was made with other settings ({'; '.join(changed)})",
            str(path),
            "give the settings of the first call, or another folder for the result",
        )
    if stored["step"] > steps:
        raise InputError(
            f"the checkpoint has {stored['step']} steps already, asked for are {steps}",
            str(path),
            "ask for more steps, or give another folder for the result",
        )


def check_cases(stored: dict[str, Any], digest: str, path: Path) -> None:
    """Refuse to continue with other cases.

    Raises
    ------
    InputError
        The digest is not the checkpoint's.
    """
    if stored.get("cases", digest) != digest:
        raise InputError(
            "the checkpoint was trained on other cases",
            str(path),
            "give the folders and the held-out share of the first call, or another folder for the result",
        )


def digest_of(kinds: Iterable[Iterable[Case]]) -> str:
    """Digest of which cases there are."""
    names = [[f"{case.source}/{case.name}/{case.image.shape}" for case in cases] for cases in kinds]
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()
