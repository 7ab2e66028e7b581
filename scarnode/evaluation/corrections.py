"""`scarnode evaluate --corrections`: what readers changed of the network's outlines, month by month."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from scarnode import RESEARCH_USE, __version__
from scarnode.cases.model import read_npz_file
from scarnode.evaluation import statistics as st
from scarnode.evaluation.markdown import mean_sd, number, table
from scarnode.evaluation.metrics import CaseResult, compare
from scarnode.util.durable import replace_durably
from scarnode.util.errors import InputError


@dataclass(frozen=True)
class Correction:
    """One stack as the network outlined it, against the person who corrected it.

    Attributes
    ----------
    result : CaseResult
        The person is its expert, the network its reader.
    month : str
        YYYY-MM, when the correction was saved.
    """

    result: CaseResult
    month: str


@dataclass(frozen=True)
class Row:
    """A group of corrections in numbers; differences are network minus person.

    Attributes
    ----------
    name : str
    stacks : int
    dice_myocardium, dice_scar : Spread
        Of the network's labels with the person's; scar where either sees any.
    lge : BlandAltman
        %LGE, points.
    scar, myocardium : BlandAltman
        mL.
    """

    name: str
    stacks: int
    dice_myocardium: st.Spread
    dice_scar: st.Spread
    lge: st.BlandAltman
    scar: st.BlandAltman
    myocardium: st.BlandAltman


def evaluate_corrections(folder: Path, output: Path) -> Path:
    """Compare the corrections a node kept with the network's labels beside them.

    Parameters
    ----------
    folder : Path
        The node's ``corrections`` in its results folder.
    output : Path
        Gets ``corrections.md`` and ``corrections.json``.

    Returns
    -------
    Path
        The former.

    Raises
    ------
    InputError
        There is no correction in the folder, or a file is none.
    """
    found = read_corrections(folder)
    months = [_row(month, part) for month, part in _grouped(found, lambda one: one.month).items()]
    networks = [_row(name, part) for name, part in _grouped(found, lambda one: one.result.reader).items()]
    total = _row("all", found)
    numbers = {
        "use": RESEARCH_USE,
        "scarnode": __version__,
        "by_month": [asdict(row) for row in months],
        "by_network": [asdict(row) for row in networks],
        "all": asdict(total),
        "corrections": [{"month": one.month, **asdict(one.result)} for one in found],
    }
    report = output / "corrections.md"
    texts = {output / "corrections.json": json.dumps(numbers, indent=1), report: _report(months, networks, total)}
    for path, text in texts.items():
        replace_durably(path, [text.encode()], output)
    return report


def read_corrections(folder: Path) -> list[Correction]:
    """Read the cases that `scarnode.cases.correction.write_case` wrote, oldest month first.

    Raises
    ------
    InputError
        As `evaluate_corrections`.
    """
    paths = sorted(Path(folder).glob("*.npz"))
    if not paths:
        raise InputError("no correction lies here", str(folder), "give the folder corrections of the node's results")
    return sorted((_read(path) for path in paths), key=lambda one: (one.month, one.result.name))


def _read(path: Path) -> Correction:
    case = read_npz_file(path, "corrections")
    with np.load(path) as stored:
        missing = {"network_label", "network", "corrected_on"} - set(stored.files)
        if missing:
            todo = "give the folder corrections of the node's results; other cases go without --corrections"
            raise InputError(f"is no correction: {', '.join(sorted(missing))} missing", str(path), todo)
        labels, network, day = stored["network_label"], stored["network"], str(stored["corrected_on"])
    reader = f"{network[0]} {network[1]} ({network[2][:12]})"
    return Correction(compare(case, labels, reader), day[:7])


def _grouped(found: Sequence[Correction], key: Callable[[Correction], str]) -> dict[str, list[Correction]]:
    groups: dict[str, list[Correction]] = {}
    for one in found:
        groups.setdefault(key(one), []).append(one)
    return groups


def _row(name: str, found: Sequence[Correction]) -> Row:
    results = [one.result for one in found]

    def against(person: str, network: str) -> st.BlandAltman:
        return st.bland_altman([getattr(r, person) for r in results], [getattr(r, network) for r in results])

    return Row(
        name,
        len(results),
        st.spread([r.dice_myocardium for r in results]),
        st.spread([r.dice_scar for r in results if r.dice_scar is not None]),
        against("lge_expert", "lge_reader"),
        against("scar_expert", "scar_reader"),
        against("myocardium_expert", "myocardium_reader"),
    )


def _report(months: Sequence[Row], networks: Sequence[Row], total: Row) -> str:
    lines = [
        "# Corrections: readers against the network",
        "",
        f"**{RESEARCH_USE}.** scarnode {__version__}. The last correction of each stack against what the network had "
        "outlined. Differences are network minus reader, mean ± SD. **Results that nobody corrected are not in here**: "
        "these numbers say how large corrections are and whether they grow, not how good the network is.",
        "",
    ]
    for heading, rows in (("month", [*months, total]), ("network", networks)):
        lines += [f"## By {heading}", ""]
        lines += table(
            (heading, "stacks", "Dice myocardium", "Dice scar", "%LGE, points", "scar, mL", "myocardium, mL"),
            [
                (
                    row.name,
                    str(row.stacks),
                    mean_sd(row.dice_myocardium),
                    f"{mean_sd(row.dice_scar)} ({row.dice_scar.n})",
                    _difference(row.lge),
                    _difference(row.scar),
                    _difference(row.myocardium),
                )
                for row in rows
            ],
        )
    return "\n".join(lines)


def _difference(found: st.BlandAltman) -> str:
    bias = number(found.bias.value, 1, sign=True)
    return bias if found.sd is None else f"{bias} ± {number(found.sd, 1)}"
