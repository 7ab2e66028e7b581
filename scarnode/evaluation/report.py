"""The evaluation as one Markdown file: the publication's tables and what goes beyond them, set by set."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from scarnode import RESEARCH_USE, __version__
from scarnode.evaluation import statistics as st
from scarnode.evaluation.markdown import interval, mean_sd, number, outcome, p_value, percent, share, slope_and_r, table
from scarnode.evaluation.metrics import EXPERT, CaseResult
from scarnode.evaluation.tables import (
    Difference,
    GroupSummary,
    SlopesAndCorrelations,
    by,
    compare_readers,
    dice_by_vendor,
    summarise_group,
)

NO_VOLUME = "pixel size unknown"
"""Stands where a volume would, in sets that do not tell their pixel size."""

_PAPER = "Fahmy et al., Radiology 2020: hypertrophic cardiomyopathy, 207 patients"
PUBLISHED = (
    (_PAPER, "scar Dice, 3D against 2D network", "0.54 ± 0.26 against 0.48 ± 0.29"),
    (_PAPER, "%LGE, 3D against 2D: slope [r]", "1.0 (0.94 to 1.1) [0.91] against 0.80 (0.74 to 0.87) [0.83]"),
    (_PAPER, "scar volume, 3D against 2D: slope [r]", "0.93 (0.86 to 0.99) [0.88] against 0.70 (0.64 to 0.74) [0.85]"),
    (_PAPER, "%LGE ≥ 15, 3D: sensitivity, PPV, specificity, accuracy", "10/12, 10/13, 192/195, 202/207"),
    ("manual, hypertrophic cardiomyopathy", "ICC between observers", "0.93 (FWHM 0.87 to 0.96, 6 SD 0.88 to 0.96)"),
    ("MyoPS: infarction", "scar Dice between human observers", "about 0.52"),
    ("EMIDEC challenge's winner: infarction", "Dice of myocardium, of infarct", "0.879, 0.712"),
)
"""What others reached: source, quantity, value."""


@dataclass(frozen=True)
class Network:
    """A weight file as it was used.

    Attributes
    ----------
    name : str
        As the results name the reader.
    version, sha256, training_data, merge : str
        `merge`: how overlapping windows were merged for scar, ``mean`` or ``max``.
    trained_on : frozenset of str
        Sources of the cases it was trained on, as its card says.
    held_out : frozenset of str
        ``source/name`` of the cases that its card says were not.
    """

    name: str
    version: str
    sha256: str
    training_data: str
    merge: str
    trained_on: frozenset[str] = frozenset()
    held_out: frozenset[str] = frozenset()

    def may_have_seen(self, result: CaseResult) -> bool:
        """Return whether a case may have trained the network: its card names the set, and not the case as held out."""
        return result.source in self.trained_on and f"{result.source}/{result.name}" not in self.held_out


@dataclass(frozen=True)
class Evaluation:
    """All that the report tells.

    Attributes
    ----------
    networks : tuple of Network
    results : tuple of CaseResult
        Of all networks, methods, contours and domain shifts.
    command : str
    figures : dict
        Set -> (file name, caption) of its figures.
    """

    networks: tuple[Network, ...]
    results: tuple[CaseResult, ...]
    command: str
    figures: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def plain(self, source: str, network: str) -> list[CaseResult]:
        """Results of a network in a set, with the cases as they are."""
        return [r for r in self.results if (r.source, r.reader, r.contour, r.look) == (source, network, "", "")]

    @property
    def sources(self) -> list[str]:
        """The sets, sorted."""
        return sorted({r.source for r in self.results})


def write_report(evaluation: Evaluation) -> str:
    """Return the whole report as Markdown."""
    lines = [
        "# Evaluation",
        "",
        f"**{RESEARCH_USE}.** scarnode {__version__}. What each number is and where its formula comes from: "
        "docs/evaluation.md. All cases, with these and more numbers: results.json.",
        "",
    ]
    if evaluation.command:
        lines += ["```sh", evaluation.command, "```", ""]
    lines += table(
        ("network", "version", "sha256", "trained on", "scar merged by"),
        [(n.name, n.version, n.sha256[:12], n.training_data, n.merge) for n in evaluation.networks],
    )
    for source in evaluation.sources:
        lines += _Set(evaluation, source).lines()
    lines += ["## Published, for comparison", "", "Other patients, other images: a frame, not a contest.", ""]
    lines += table(("source", "quantity", "value"), PUBLISHED)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


class _Set:
    """The chapter of one set of cases."""

    def __init__(self, evaluation: Evaluation, source: str) -> None:
        self.evaluation, self.source = evaluation, source
        self.networks = [n.name for n in evaluation.networks]
        self.results = {name: evaluation.plain(source, name) for name in self.networks}
        self.summaries = {name: summarise_group(results) for name, results in self.results.items()}
        self.first = self.results[self.networks[0]]
        self.synthetic = self.first[0].synthetic
        self.known = all(r.scar_expert is not None for r in self.first)

    def lines(self) -> list[str]:
        heading = self.tagged(self.source)
        count, scarred = len(self.first), sum(r.has_scar for r in self.first)
        text = [f"## {heading}", "", f"{count} cases, {scarred} with scar by the expert."]
        if self.synthetic:
            text.append("**Synthetic**: digital phantoms, no patients.")
        if not self.known:
            text.append(
                "**Pixel size unknown**: no volume in mL is given; distances in mm rest on a plausible pixel size."
            )
        for network in {n.sha256: n for n in reversed(self.evaluation.networks)}.values():
            seen = sum(network.may_have_seen(r) for r in self.first)
            if seen:
                text.append(
                    f"**{seen} of these cases may have trained {network.name}**: its card names a set {self.source!r} "
                    "and does not list them as held out."
                )
        sections: tuple[Callable[[], Iterable[str]], ...] = (
            self.large_scar,
            self.overview,
            self.by_vendor_and_site,
            self.figures,
            self.agreement,
            self.intervals,
            self.dice_classes,
            self.between_networks,
            self.comparators,
            self.without_scar,
            self.domain_shifts,
            self.flags,
        )
        for section in sections:
            text += ["", *section()]
        return text

    def tagged(self, label: str) -> str:
        """Synthetic stands beside every number of a phantom."""
        return f"{label} (synthetic)" if self.synthetic else label

    def large_scar(self) -> list[str]:
        rows = []
        for name, summary in self.summaries.items():
            d = summary.large_scar
            rows.append(
                (
                    self.tagged(name),
                    share(d.sensitivity, d.true_positive, d.true_positive + d.false_negative),
                    share(d.ppv, d.true_positive, d.true_positive + d.false_positive),
                    share(d.specificity, d.true_negative, d.true_negative + d.false_positive),
                    share(d.npv, d.true_negative, d.true_negative + d.false_negative),
                    share(d.accuracy, d.true_positive + d.true_negative, summary.cases),
                    number(d.kappa, 2),
                )
            )
        return [
            "### Large scar: %LGE ≥ 15",
            "",
            "With exact 95 % confidence intervals. Sensitivity and PPV come first: calling nobody's scar large is "
            "right for most patients too.",
            "",
            *table(("reader", "sensitivity", "PPV", "specificity", "NPV", "accuracy", "kappa"), rows),
        ]

    def overview(self) -> list[str]:
        rows = [
            (
                self.tagged(name),
                number(s.dice_blood.mean),
                f"{number(s.dice_myocardium.mean)} ({number(s.dice_myocardium.lowest)})",
                number(s.hd95.median, 1),
                mean_sd(s.dice_scar, 3),
                f"{number(s.lge.bland_altman.bias.value, 1, sign=True)} ± {number(s.lge.bland_altman.sd, 1)}",
                number(s.lge.pearson.value, 2),
                f"{number(s.center_error.median, 1)} ({number(s.center_error.highest, 1)})",
                str(s.lost),
                number(s.seconds.median, 2),
            )
            for name, s in self.summaries.items()
        ]
        header = (
            "reader",
            "blood Dice",
            "myocardium Dice (lowest)",
            "HD95 of the myocardium, median, mm",
            "scar Dice",
            "%LGE, reader − expert",
            "r",
            "heart's centre, median (highest) error, mm",
            "hearts lost",
            "s per case",
        )
        return ["### In short", "", *table(header, rows)]

    def by_vendor_and_site(self) -> list[str]:
        groups: list[tuple[str, Callable[[CaseResult], bool]]] = []
        for attribute in ("vendor", "site"):
            found = by(self.first, attribute)
            if len(found) > 1 or any(getattr(r, attribute) for r in self.first):
                groups += [(f"{attribute} {name}", _among(members)) for name, members in found.items()]
        groups.append(("all", lambda r: True))
        rows = []
        for label, belongs in groups:
            own = [summarise_group([r for r in self.results[n] if belongs(r)]) for n in self.networks]
            rows.append(
                (
                    self.tagged(f"{label}, n = {own[0].cases}, {own[0].scarred} with scar"),
                    *(slope_and_r(s.volume) if s.volume else NO_VOLUME for s in own),
                    *(slope_and_r(s.lge) for s in own),
                    *(mean_sd(s.dice_scar) for s in own),
                )
            )
        header = ["group"]
        for what in ("scar volume", "%LGE", "scar Dice"):
            header += [f"{what}: {name}" for name in self.networks]
        test = [f"{name}: {outcome(dice_by_vendor(results), 'H')}" for name, results in self.results.items()]
        return [
            "### By vendor and site (the publication's table 3)",
            "",
            "Slope through the origin (95 % confidence interval) [r], of fewer than four cases the slope alone; mean ± "
            "SD of Dice where the expert sees scar.",
            "",
            *table(header, rows),
            f"Kruskal-Wallis test of scar Dice over vendors: {'; '.join(test)}.",
        ]

    def figures(self) -> list[str]:
        lines = []
        for file, caption in self.evaluation.figures.get(self.source, []):
            lines += [f"![{caption}]({file})", "", f"*{caption}*", ""]
        return lines

    def agreement(self) -> list[str]:
        rows = []
        for name, summary in self.summaries.items():
            for what, a, digits in (("scar, mL", summary.volume, 1), ("%LGE", summary.lge, 1)):
                if a is None:
                    rows.append((self.tagged(name), what, NO_VOLUME, *[""] * 6))
                    continue
                b = a.bland_altman
                rows.append(
                    (
                        self.tagged(name),
                        what,
                        f"{number(a.mean_expert, digits)} / {number(a.mean_reader, digits)}",
                        interval(a.pearson, 2),
                        interval(a.concordance, 2),
                        f"{interval(a.ordinary.slope, 2)}, {number(a.ordinary.intercept, 1, sign=True)}",
                        interval(b.bias, 1, sign=True),
                        interval(b.lower, 1, sign=True),
                        interval(b.upper, 1, sign=True),
                    )
                )
        header = (
            "reader",
            "quantity",
            "mean: expert / reader",
            "Pearson's r",
            "Lin's CCC",
            "least-squares slope, intercept",
            "bias",
            "lower limit of agreement",
            "upper limit",
        )
        return ["### Agreement with the expert", "", "With 95 % confidence intervals.", "", *table(header, rows)]

    def intervals(self) -> list[str]:
        rows = []
        for name, s in self.summaries.items():
            count = s.interval_width.n
            if count:
                held = share(s.interval_holds, round((s.interval_holds.value or 0.0) * count), count)
                rows.append((self.tagged(name), held, f"{number(s.interval_width.median, 1)} points"))
        if not rows:
            return []
        header = ("reader", "interval holds the expert's %LGE", "median width")
        return ["### The interval of %LGE that the network gives", "", *table(header, rows)]

    def dice_classes(self) -> list[str]:
        names = [name for name, _ in st.DICE_CLASSES]
        rows = []
        for name, s in self.summaries.items():
            d = s.dice_scar
            quartiles = f"{number(d.median, 2)} ({number(d.first_quartile, 2)} to {number(d.third_quartile, 2)})"
            rows.append((self.tagged(name), *(str(s.dice_classes[c]) for c in names), quartiles, str(s.both_empty)))
        bounds = [f"{c} (≥ {low:g})" if low else "poor (< 0.25)" for c, low in st.DICE_CLASSES]
        header = ("reader", *bounds, "median (quartiles)", "no scar by either (not counted)")
        return ["### Classes of scar Dice", "", *table(header, rows)]

    def between_networks(self) -> list[str]:
        pairs = list(combinations(self.networks, 2))
        if not pairs:
            return []
        lines = [
            "### Between networks",
            "",
            "All networks read the same patients: the paired tests (signed rank, Meng, bootstrap) are the valid "
            "ones. Welch's t, Fisher's z and Kruskal-Wallis treat the patients as different ones, as published.",
            "",
        ]
        for first, second in pairs:
            lines += self._pair(compare_readers(self.results[first], self.results[second]))
        return lines

    def _pair(self, d: Difference) -> list[str]:
        rows: list[tuple[str, ...]] = [
            ("scar Dice, mean difference", interval(d.dice, 3, sign=True), f"signed rank {p_value(d.wilcoxon)}",
             f"Kruskal-Wallis {p_value(d.kruskal)}"),
            ("myocardium Dice", "", f"signed rank {p_value(d.wilcoxon_myocardium)}", ""),
        ]  # fmt: skip
        for what, of in (("scar volume", d.volume), ("%LGE", d.lge)):
            rows += self._slopes(what, of)
        rows = [(self.tagged(row[0]), *row[1:]) for row in rows]
        header = (f"{d.first} − {d.second}, n = {d.cases}", "difference (bootstrap 95 %)", "paired", "as if unpaired")
        return table(header, rows)

    def _slopes(self, what: str, of: SlopesAndCorrelations | None) -> list[tuple[str, ...]]:
        if of is None:
            return [(f"{what}: slope, r", NO_VOLUME, "", "")]
        welch = f"Welch {outcome(of.welch, 't')}"
        return [
            (f"{what}: slope", interval(of.slope, 2, sign=True), "bootstrap", welch),
            (f"{what}: r", interval(of.correlation, 2, sign=True), f"Meng {outcome(of.meng, 'z')}",
             f"Fisher {outcome(of.fisher, 'z')}"),
        ]  # fmt: skip

    def comparators(self) -> list[str]:
        contours = [EXPERT, self.networks[0]]
        results = {
            contour: by(
                [r for r in self.evaluation.results if r.source == self.source and r.contour == contour], "reader"
            )
            for contour in contours
        }
        if not any(results.values()):
            return []
        rows = [self._comparator(f"{self.networks[0]} (the network itself)", "its own", self.first)]
        for contour, methods in results.items():
            named = "the expert's" if contour == EXPERT else f"{contour}'s"
            rows += [self._comparator(name, named, found) for name, found in _in_order(methods)]
        header = ("method", "inside the contour", "scar Dice", "%LGE, reader − expert", "limits of agreement", "r",
                  "CCC", "false scar without scar: median (highest) %", "large scar: sensitivity, PPV")  # fmt: skip
        return [
            "### Intensity methods",
            "",
            "Thresholds inside a given myocardium; remote myocardium found automatically; islands dropped as the "
            "network drops them. Inside the expert's contour a method has help that the network has not.",
            "",
            *table(header, rows),
        ]

    def _comparator(self, name: str, contour: str, results: Sequence[CaseResult]) -> tuple[str, ...]:
        s = summarise_group(results)
        b, d, f = s.lge.bland_altman, s.large_scar, s.false_scar.percent
        return (
            self.tagged(name),
            contour,
            mean_sd(s.dice_scar, 3),
            f"{number(b.bias.value, 1, sign=True)} ± {number(b.sd, 1)}",
            f"{number(b.lower.value, 1, sign=True)} to {number(b.upper.value, 1, sign=True)}",
            number(s.lge.pearson.value, 2),
            number(s.lge.concordance.value, 2),
            f"{number(f.median, 1)} ({number(f.highest, 1)})",
            f"{percent(d.sensitivity.value)}, {percent(d.ppv.value)}",
        )

    def without_scar(self) -> list[str]:
        free = [r for r in self.first if not r.has_scar]
        if not free:
            return ["### Cases without scar", "", "The expert sees scar in every case."]
        rows = [(self.tagged(name), *self._false_scar(summary)) for name, summary in self.summaries.items()]
        header = ("reader", "cases", "with any false scar", "median (highest) % of the myocardium", "mean (highest) mL",
                  "above 5 %", "of these without a flag", "false positives in all cases, mean mL")  # fmt: skip
        return ["### Cases without scar", "", *table(header, rows)]

    def _false_scar(self, summary: GroupSummary) -> tuple[str, ...]:
        f, everywhere = summary.false_scar, summary.false_positive_volume
        return (
            str(f.percent.n),
            str(f.cases_with_any),
            f"{number(f.percent.median, 1)} ({number(f.percent.highest, 1)})",
            f"{number(f.volume.mean, 1)} ({number(f.volume.highest, 1)})" if f.volume else NO_VOLUME,
            str(f.cases_above_5_percent),
            str(f.unflagged_above_5_percent),
            number(everywhere.mean, 1) if everywhere else NO_VOLUME,
        )

    def domain_shifts(self) -> list[str]:
        changed = [r for r in self.evaluation.results if r.source == self.source and r.look and not r.contour]
        if not changed:
            return []
        rows = []
        for name in self.networks:
            plain = self.summaries[name]
            rows.append(self._domain_shift(name, "as it is", plain, plain))
            own = by([r for r in changed if r.reader == name], "look")
            rows += [self._domain_shift(name, look, summarise_group(found), plain) for look, found in own.items()]
        header = ("reader", "look", "Dice: blood / myocardium", "change", "scar Dice", "change", "%LGE bias",
                  "false scar, median (highest) %", "hearts lost")  # fmt: skip
        return [
            "### The same cases under other looks",
            "",
            "As another scanner or protocol would give them (scarnode/evaluation/domain_shifts.py); a network "
            "that knows only one look falls here.",
            "",
            *table(header, rows),
        ]

    def _domain_shift(self, name: str, look: str, s: GroupSummary, plain: GroupSummary) -> tuple[str, ...]:
        change = [
            None if a.mean is None or b.mean is None else a.mean - b.mean
            for a, b in ((s.dice_myocardium, plain.dice_myocardium), (s.dice_scar, plain.dice_scar))
        ]
        f = s.false_scar.percent
        return (
            self.tagged(name),
            look,
            f"{number(s.dice_blood.mean)} / {number(s.dice_myocardium.mean)}",
            number(change[0], 3, sign=True) if s is not plain else "",
            number(s.dice_scar.mean),
            number(change[1], 3, sign=True) if s is not plain else "",
            number(s.lge.bland_altman.bias.value, 1, sign=True),
            f"{number(f.median, 1)} ({number(f.highest, 1)})",
            str(s.lost),
        )

    def flags(self) -> list[str]:
        rows = []
        for name, results in self.results.items():
            names = sorted({flag for r in results for flag in r.flags})
            groups = [(flag, [r for r in results if flag in r.flags]) for flag in names]
            for flag, found in [*groups, ("no flag", [r for r in results if not r.flags])]:
                if found:
                    s = summarise_group(found)
                    row = (str(s.cases), number(s.dice_myocardium.mean), number(s.dice_scar.mean), str(s.lost))
                    rows.append((self.tagged(name), flag, *row))
        header = ("reader", "flag", "cases", "myocardium Dice", "scar Dice", "hearts lost")
        return ["### Quality flags", "", *table(header, rows)]


def _among(members: Sequence[CaseResult]) -> Callable[[CaseResult], bool]:
    names = frozenset(r.name for r in members)
    return lambda r: r.name in names


def _in_order(methods: dict[str, list[CaseResult]]) -> list[tuple[str, list[CaseResult]]]:
    from scarnode.evaluation.comparators import METHODS

    return [(name, methods[name]) for name in METHODS if name in methods]
