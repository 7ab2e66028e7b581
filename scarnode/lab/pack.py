"""Checkpoints of the two networks -> one weight file with an honest card."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import date
from pathlib import Path

import torch

from scarnode.lab.cases import Case
from scarnode.lab.evaluate import evaluate, summarise
from scarnode.segment.card import read_card
from scarnode.segment.predict import Segmenter
from scarnode.segment.unet import UNet, UNetSettings
from scarnode.segment.weights import write_weights

LICENCES = {
    "emidec": "EMIDEC training set (Lalande et al., Data 2020;5(4):89), CC BY-NC-SA 4.0",
    "acdc": "ACDC (Bernard et al., IEEE TMI 2018;37:2514), CC BY-NC-SA 4.0",
}
"""Where the public sets come from; weights trained with them carry their licence."""
DESCRIPTIONS = {"emidec": "EMIDEC", "acdc": "LGE contrast painted on ACDC", "phantoms": "synthetic phantoms"}
"""How the report names the sets."""


def pack(
    finder: Path,
    outline: Path,
    held_out: list[Case],
    path: Path,
    *,
    version: str,
    command: str,
    limits: list[str],
    name: str = "scarnode-unet3d",
) -> dict:
    """Write the weight file `path` and its card with the metrics measured on held-out cases; return the card.

    Parameters
    ----------
    finder, outline : Path
        Folders that `scarnode.lab.train.train` wrote.
    held_out : list of Case
        Cases that neither network was trained on; evaluated end to end, set by set.
    version, command : str
        What the card says.
    limits : list of str
        What the weights are not good for, one sentence each.
    """
    runs = {part: _read_run(folder) for part, folder in (("finder", finder), ("outline", outline))}
    trained = {part: run["settings"]["trained_on"] for part, run in runs.items()}
    sources = sorted(set().union(*trained.values()))
    data = ", ".join(DESCRIPTIONS.get(source, source) for source in sources)
    restricted = [LICENCES[source] for source in sources if source in LICENCES]
    card = {
        "date": date.today().isoformat(),
        "command": command,
        "licence": "CC BY-NC-SA 4.0 (from the training data); see LICENSE-weights.md"
        if restricted
        else "as you choose",
        "data": {"sources": restricted, "cases_trained_on": trained},
        "training": {part: {"steps": run["step"], "settings": run["settings"]} for part, run in runs.items()},
        "limits": limits,
    }
    for run in runs.values():
        card["data"]["held_out"] = run["settings"].pop("held_out")
    networks = [(runs[part]["network"], runs[part]["spacing"]) for part in ("finder", "outline")]

    def write() -> None:
        write_weights(path, *networks, name=name, version=version, training_data=data, card=card)

    write()
    segmenter = Segmenter(path)
    card["metrics"] = {}
    for source in sorted({case.source for case in held_out}):
        cases = [case for case in held_out if case.source == source]
        results = evaluate(cases, segmenter)
        card["metrics"][source] = {
            "how": "end to end with automatic heart finding, none of these cases was trained on",
            **{key: round(value, 4) if value is not None else None for key, value in summarise(results).items()},
            "by_case": {
                result.name: {
                    key: round(value, 3) if isinstance(value, float) else value
                    for key, value in asdict(result).items()
                    if key not in ("name", "source", "seconds")
                }
                for result in results
            },
        }
    write()
    return read_card(path)


def _read_run(folder: Path) -> dict:
    """Averaged network, step, pixel size and settings of a training run."""
    stored = torch.load(folder / "checkpoint.pt", weights_only=True, map_location="cpu")
    network = UNet(UNetSettings(**stored["unet"]))
    network.load_state_dict(stored["average"])
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    # Paths of the training machine say nothing to a reader.
    for key in ("out", "emidec", "acdc", "folders", "initial"):
        settings.pop(key, None)
    return {"network": network, "step": stored["step"], "spacing": stored["spacing"], "settings": settings}
