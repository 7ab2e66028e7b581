"""The two networks -> one weight file with an honest card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path

from scarnode import RESEARCH_USE
from scarnode.cases.model import Case
from scarnode.evaluation.calibrate import calibrate_segmenter
from scarnode.evaluation.metrics import CaseResult, evaluate, summarise
from scarnode.pipeline.segment.card import read_card
from scarnode.pipeline.segment.predict import Segmenter
from scarnode.pipeline.segment.weights import PARTS, write_weights
from scarnode.training.networks import LICENCES, Origin, Part, case_label, read_part

DESCRIPTIONS = {"emidec": "EMIDEC", "acdc": "LGE contrast painted on ACDC", "phantoms": "synthetic phantoms"}
"""How the report names the sets."""
NON_COMMERCIAL = "CC BY-NC-SA 4.0 (from the training data); see LICENSE-weights.md"
FREE = "as you choose"
"""Licence of weights that carry nobody else's."""


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
    before: Path | None = None,
) -> dict:
    """Write the weight file `path`, its card with what was measured on held-out cases, and their licence.

    Data, licences and limits are inherited from all weights that the networks started from.

    Parameters
    ----------
    finder, outline : Path
        Folders that `scarnode.training.train.train` wrote, or weight files to take the network from.
    held_out : list of Case
        Evaluated end to end, set by set. Cases that one of the networks, or weights it started from, may have been
        trained on are left out.
    version, command : str
        What the card says.
    limits : list of str
        What the weights are not good for, one sentence each.
    before : Path, optional
        Weights to compare with on the same cases.

    Returns
    -------
    dict
        The card.
    """
    parts = {"finder": read_part(finder, "finder"), "outline": read_part(outline, "outline")}
    origins = [part.origin for part in parts.values()]
    card = _card(parts)
    card |= {"date": date.today().isoformat(), "command": command}
    card["limits"] = list(dict.fromkeys([*limits, *(limit for origin in origins for limit in origin.limits)]))
    sources = sorted(set().union(*(origin.trained_on for origin in origins)))
    data = ", ".join(DESCRIPTIONS.get(source, source) for source in sources)
    networks = [(parts[part].network, parts[part].spacing) for part in PARTS]

    def write() -> None:
        write_weights(path, *networks, name=name, version=version, training_data=data, card=card)

    write()
    segmenter = Segmenter(path)
    fair = [case for case in held_out if not any(origin.knows(case) for origin in origins)]
    card["metrics"] = _measure(fair, segmenter)
    card["calibration"] = calibrate_segmenter(fair, segmenter)
    if before is not None:
        for source, measured in _measure(fair, Segmenter(before)).items():
            del measured["how"], measured["by_case"]
            card["metrics"][source]["before"] = measured
    write()
    if card["data"]["sources"]:
        _write_licence(path.parent, card["data"]["sources"])
    return read_card(path)


def _card(parts: dict[str, Part]) -> dict:
    """Return what the card says of licence, data and training."""
    origins = {name: part.origin for name, part in parts.items()}
    sources = sorted({source for origin in origins.values() for source in origin.sources})
    licences = {origin.licence for origin in origins.values()} - {"", FREE}
    if not set(sources).isdisjoint(LICENCES.values()):
        licences.add(NON_COMMERCIAL)
    return {
        "licence": " and ".join(sorted(licences)) or FREE,
        "data": {
            "sources": sources,
            "cases_trained_on": {name: origin.trained_on for name, origin in origins.items()},
            "held_out": _never_seen(list(origins.values())),
        },
        "training": {
            name: {
                "steps": origin.steps,
                "settings": origin.settings,
                **({"started_from": origin.started_from} if origin.started_from else {}),
                **({"taken_from": origin.identity} if origin.identity["sha256"] else {}),
            }
            for name, origin in origins.items()
        },
    }


def _never_seen(origins: Sequence[Origin]) -> list[str]:
    """Held-out cases of any network that no other was trained on."""
    labels = {label for origin in origins for label in origin.held_out}
    return sorted(
        label
        for label in labels
        if all(label in origin.held_out or label.split("/", 1)[0] not in origin.trained_on for origin in origins)
    )


def _measure(cases: Sequence[Case], segmenter: Segmenter) -> dict[str, dict]:
    """Metrics by source, in sum and case by case."""
    metrics = {}
    for source in sorted({case.source for case in cases}):
        results = evaluate([case for case in cases if case.source == source], segmenter)
        metrics[source] = {
            "how": "end to end with automatic heart finding, none of these cases was trained on",
            **{key: round(value, 4) if value is not None else None for key, value in summarise(results).items()},
            "by_case": {case_label(source, result.name).split("/", 1)[1]: _row(result) for result in results},
        }
    return metrics


def _row(result: CaseResult) -> dict:
    """Return what the card says of a case; a hospital's name stays at home."""
    return {
        key: round(value, 3) if isinstance(value, float) else value
        for key, value in asdict(result).items()
        if key not in ("name", "source", "site", "reader", "contour", "look", "seconds")
    }


def _write_licence(folder: Path, sources: Sequence[str]) -> None:
    """Put the licence of weights that others' data went into beside them, where none is yet."""
    file = folder / "LICENSE-weights.md"
    if file.exists():
        return
    known = set(LICENCES.values()) >= set(sources)
    listed = "\n".join(f"- {source}" for source in sources)
    text = f"""# Licence of the weights

Data under these licences went into the weights in this folder, or into weights that they started from:

{listed}

"""
    if known:
        text += """The weights are therefore under CC BY-NC-SA 4.0 (https://creativecommons.org/licenses/by-nc-sa/4.0/):
name the sources, no commercial use, the same licence for what you derive. The licence of scarnode's code is separate
(Apache-2.0).

"""
    file.write_text(f"{text}{RESEARCH_USE}.\n", encoding="utf-8")
