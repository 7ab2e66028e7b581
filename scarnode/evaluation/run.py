"""`scarnode evaluate`: folders of cases and weight files in; report, figures and all numbers out."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from scarnode import RESEARCH_USE, __version__
from scarnode.cases import read_cases
from scarnode.cases.model import Case, read_acdc, read_emidec, split
from scarnode.evaluation.comparators import METHODS
from scarnode.evaluation.domain_shifts import SHIFTS
from scarnode.evaluation.figures import Picture, draw_agreement, draw_overlays, require_matplotlib
from scarnode.evaluation.metrics import CaseResult, as_rows, evaluate, evaluate_methods
from scarnode.evaluation.report import Evaluation, Network, write_report
from scarnode.evaluation.tables import by, compare_readers, dice_by_vendor, summarise_group
from scarnode.pipeline.segment import shipped_weights
from scarnode.pipeline.segment.card import read_card
from scarnode.pipeline.segment.predict import Segmenter
from scarnode.util.durable import replace_durably
from scarnode.util.errors import InputError

PUBLIC = {"emidec": read_emidec, "acdc": read_acdc, "acdc_ed": read_acdc}
"""Folders of these names whose npz files carry no pixel size are read as the public sets."""
SHIFT_NAMES = tuple(look.__name__ for look in SHIFTS)
_OVERLAYS = 4
"""Cases that figure 6 shows."""

Track = Callable[[Sequence[Case], str], Iterable[Case]]
"""Yields the cases of one round one by one, and shows the progress."""


@dataclass(frozen=True)
class EvaluationSettings:
    """What is evaluated.

    Attributes
    ----------
    cases : tuple of Path
        Folders of cases, a set each.
    out : Path
        Folder for ``report.md``, ``results.json`` and the figures.
    weights : tuple of Path
        Weight files; the shipped one by default.
    merges : tuple of str
        ``mean``, ``max`` (as published) or both: each makes a reader of each weight file.
    looks : tuple of str
        Domain shifts (`SHIFT_NAMES`), each evaluated too.
    held_out : bool
        Only the fifth of each set that `scarnode.cases.model.split` holds out.
    methods : bool
        Run the intensity methods too.
    device : str
    command : str
        The command line, for the report.
    """

    cases: tuple[Path, ...]
    out: Path
    weights: tuple[Path, ...] = ()
    merges: tuple[str, ...] = ("mean",)
    looks: tuple[str, ...] = ()
    held_out: bool = False
    methods: bool = True
    device: str = "auto"
    command: str = ""


def run(settings: EvaluationSettings, track: Track = lambda cases, what: cases) -> Path:
    """Evaluate, and write the report; returns its path.

    Raises
    ------
    InputError
        No case is found, two cases have the same name, or a domain shift or merge is not known.
    ScarnodeError
        matplotlib is missing.
    WeightsError
        A weight file can not be used.
    """
    require_matplotlib()
    _check(settings)
    networks = _load(settings)
    cases = [case for folder in settings.cases for case in _read(folder, settings.held_out)]
    _check_names(cases)
    looks = [None, *(look for look in SHIFTS if look.__name__ in settings.looks)]
    results: list[CaseResult] = []
    for number, (network, segmenter) in enumerate(networks):
        for look in looks:
            # Methods run inside the expert's contour and the first network's, on the images as they are.
            methods = METHODS if settings.methods and number == 0 and look is None else None
            what = f"{network.name}{f', {look.__name__}' if look else ''}"
            results += evaluate(track(cases, what), segmenter, network.name, look, methods)
    if settings.methods:
        results += evaluate_methods(track(cases, "intensity methods"), METHODS)
    evaluation = Evaluation(tuple(network for network, _ in networks), tuple(results), settings.command)
    for source in evaluation.sources:
        evaluation.figures[source] = _draw(evaluation, source, cases, networks[0][1], settings.out)
    report = settings.out / "report.md"
    texts = {settings.out / "results.json": json.dumps(as_json(evaluation), indent=1), report: write_report(evaluation)}
    for path, text in texts.items():
        replace_durably(path, [text.encode()], settings.out)
    return report


def as_json(evaluation: Evaluation) -> dict:
    """Everything, for programs: networks, summaries of every group, tests, and every case."""
    sets = {}
    for source in evaluation.sources:
        own = [r for r in evaluation.results if r.source == source]
        readers = {network.name: evaluation.plain(source, network.name) for network in evaluation.networks}
        names = list(readers)
        sets[source] = {
            "synthetic": own[0].synthetic,
            "pixel_size_known": all(r.scar_expert is not None for r in own),
            "networks": {
                name: {
                    "all": asdict(summarise_group(results)),
                    **{
                        f"by_{group}": {key: asdict(summarise_group(part)) for key, part in by(results, group).items()}
                        for group in ("vendor", "site")
                    },
                    "by_look": {
                        look: asdict(summarise_group(part))
                        for look, part in by(
                            [r for r in own if r.reader == name and r.look and not r.contour], "look"
                        ).items()
                    },
                    "dice_by_vendor": asdict(dice_by_vendor(results)),
                }
                for name, results in readers.items()
            },
            "differences": [
                asdict(compare_readers(readers[first], readers[second]))
                for i, first in enumerate(names)
                for second in names[i + 1 :]
            ],
            "methods": {
                contour: {method: asdict(summarise_group(part)) for method, part in by(found, "reader").items()}
                for contour, found in by([r for r in own if r.contour], "contour").items()
            },
        }
    networks = [
        {key: sorted(value) if isinstance(value, frozenset) else value for key, value in asdict(network).items()}
        for network in evaluation.networks
    ]
    return {
        "use": RESEARCH_USE,
        "scarnode": __version__,
        "command": evaluation.command,
        "networks": networks,
        "sets": sets,
        "results": as_rows(evaluation.results),
    }


def _check(settings: EvaluationSettings) -> None:
    for given, known, what in ((settings.looks, SHIFT_NAMES, "look"), (settings.merges, ("mean", "max"), "merge")):
        for unknown in set(given) - set(known):
            raise InputError(f"unknown {what} {unknown!r}", "evaluate", f"choose of {', '.join(known)}")


def _load(settings: EvaluationSettings) -> list[tuple[Network, Segmenter]]:
    """Each weight file with each merge, under distinct names."""
    paths = settings.weights or (shipped_weights(),)
    cards = {path: read_card(path) for path in paths}
    titles = Counter(f"{card['name']} {card['version']}" for card in cards.values())
    loaded = []
    for path, card in cards.items():
        name = f"{card['name']} {card['version']}"
        if titles[name] > 1:
            name = f"{name} ({path.stem})"
        data = card.get("data", {})
        trained_on = frozenset().union(*(data.get("cases_trained_on", {}).values()))
        for merge in dict.fromkeys(settings.merges):
            own = name if merge == "mean" else f"{name}, scar by {merge}"
            segmenter = Segmenter(path, settings.device, merge)
            network = Network(
                own,
                card["version"],
                card["sha256"],
                card["training_data"],
                merge,
                trained_on,
                frozenset(data.get("held_out", ())),
            )
            loaded.append((network, segmenter))
    return loaded


def _read(folder: Path, held_out: bool) -> list[Case]:
    cases = (PUBLIC[folder.resolve().name] if _is_public(folder) else read_cases)(folder)
    if not held_out:
        return cases
    _, held = split(cases)
    if not held:
        raise InputError("no case is held out of so few", str(folder), "leave --held-out away")
    return held


def _is_public(folder: Path) -> bool:
    """Return whether it is a public set as `PUBLIC` reads it: by name, and by npz files without a pixel size."""
    first = next(iter(sorted(folder.glob("*.npz"))), None)
    if folder.resolve().name not in PUBLIC or first is None:
        return False
    with np.load(first) as stored:
        return "pixel_spacing" not in stored.files


def _check_names(cases: Sequence[Case]) -> None:
    twice = [name for name, count in Counter((case.source, case.name) for case in cases).items() if count > 1]
    if twice:
        raise InputError(
            f"{len(twice)} cases come twice, the first is {'/'.join(twice[0])}",
            "evaluate",
            "give each set a folder of its own name",
        )


def _draw(
    evaluation: Evaluation, source: str, cases: Sequence[Case], segmenter: Segmenter, out: Path
) -> list[tuple[str, str]]:
    """Figures of a set, with their captions."""
    figures = []
    for network in evaluation.networks:
        results = evaluation.plain(source, network.name)
        tag = " (synthetic)" if results[0].synthetic else ""
        file = f"figure5-{_slug(source)}-{_slug(network.name)}.png"
        draw_agreement(results, out / file)
        caption = "regression (solid: through the origin; dotted: identity) and Bland-Altman plots"
        figures.append((file, f"Figure 5, {source}{tag}, {network.name}: {caption}. {RESEARCH_USE}."))
    results = evaluation.plain(source, evaluation.networks[0].name)
    pictures = [
        Picture(case.image, case.label, segmenter.segment(case.image, case.pixel_spacing).labels, case.pixel_spacing, r)
        for r in _low_dice(results)
        for case in cases
        if (case.source, case.name) == (source, r.name)
    ]
    if pictures:
        file = f"figure6-{_slug(source)}.png"
        draw_overlays(pictures, out / file)
        tag = " (synthetic)" if results[0].synthetic else ""
        caption = (
            f"Figure 6, {source}{tag}, {results[0].reader}: cases of the lowest quarter of scar Dice; myocardium red, "
            f"scar yellow. {RESEARCH_USE}."
        )
        figures.append((file, caption))
    return figures


def _low_dice(results: Sequence[CaseResult]) -> list[CaseResult]:
    """Cases spread over the lowest quarter of scar Dice."""
    ordered = sorted((r for r in results if r.has_scar), key=lambda r: r.dice_scar or 0.0)
    lowest = ordered[: -(-len(ordered) // 4)]
    step = max(len(lowest) / _OVERLAYS, 1)
    return [lowest[int(i * step)] for i in range(min(_OVERLAYS, len(lowest)))]


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")
