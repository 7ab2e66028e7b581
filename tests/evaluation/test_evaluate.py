"""`scarnode evaluate` from cases on disk to report, on readers whose mistakes are known."""

import json
import re
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from scarnode import RESEARCH_USE, cli
from scarnode.cases import read_cases
from scarnode.cases.model import Case, is_synthetic, read_emidec, split, write_npz
from scarnode.evaluation.comparators import METHODS
from scarnode.evaluation.domain_shifts import sparser
from scarnode.evaluation.metrics import EXPERT, compare, evaluate, evaluate_methods, hd95, lge_percent, summarise
from scarnode.evaluation.report import Evaluation, Network, write_report
from scarnode.evaluation.run import EvaluationSettings, run
from scarnode.evaluation.tables import by, compare_readers, dice_by_vendor, summarise_group
from scarnode.phantom.dicom import write_cohort
from scarnode.pipeline.segment.model import ModelIdentity, Segmentation, Tissue
from scarnode.pipeline.segment.predict import Segmenter
from scarnode.pipeline.segment.unet import UNet, UNetSettings
from scarnode.pipeline.segment.weights import write_weights
from scarnode.util.errors import InputError, ScarnodeError
from tests.training.toys import toy_case

VENDORS = ("GE", "Siemens", "Philips")


class Knows:
    """A segmenter that knows the toys' truth and spoils it: some of the scar missed, scar called in a sound wall."""

    identity = ModelIdentity("knows", "1", "0" * 64, "toys")

    def __init__(self, missed: float = 0.0, called: int = 0, blind: bool = False) -> None:
        self.missed, self.called, self.blind = missed, called, blind
        self.truth = {}

    def learn(self, cases):
        self.truth = {case.image.tobytes(): case.label for case in cases}
        return self

    def segment(self, image, spacing):
        labels = self.truth[image.tobytes()].copy()
        if self.blind:
            return Segmentation(labels * 0, None, self.identity, ("NO_HEART",))
        scar, sound = (np.argwhere(labels == tissue) for tissue in (Tissue.SCAR, Tissue.MYOCARDIUM))
        labels[tuple(scar[: round(self.missed * len(scar))].T)] = Tissue.MYOCARDIUM
        labels[tuple(sound[: self.called].T)] = Tissue.SCAR
        lge = lge_percent(labels)
        middle = tuple(float(m) for m in np.argwhere(labels).mean(0)[1:])
        flags = ("OPEN_RING",) if self.called else ()
        return Segmentation(labels, middle, self.identity, flags, lge_interval=(lge - 2, lge + 3))


def toys(count=8, source="toy", slices=5):
    return [
        replace(toy_case(i, scar=i % 3 != 0, slices=slices), vendor=VENDORS[i % 3 - 1], site=str(i % 2), source=source)
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def cases():
    return toys()


# --- a case


def test_a_case_in_numbers():
    """Two slices of 4 mm2 pixels, 10 mm apart: 40 pixels of myocardium are 1.6 mL."""
    label = np.zeros((2, 20, 20), np.uint8)
    label[:, 5:7, 5:15] = Tissue.MYOCARDIUM
    label[0, 5, 5:15] = Tissue.SCAR
    read = label.copy()
    read[0, 5, 5:10] = Tissue.MYOCARDIUM
    read[1, 5, 5:8] = Tissue.SCAR
    case = Case(np.zeros(label.shape, np.float32), label, (2.0, 2.0), 10.0, "a", "s", vendor="GE", site="9")
    found = compare(case, read, "someone", center=(9.0, 10.0))
    assert (found.myocardium_expert, found.myocardium_reader) == pytest.approx((1.6, 1.6))
    assert (found.scar_expert, found.scar_reader, found.false_scar) == pytest.approx((0.4, 0.32, 0.12))
    assert (found.lge_expert, found.lge_reader) == pytest.approx((25, 20))
    assert found.dice_scar == pytest.approx(2 * 5 / 18)
    assert (found.dice_myocardium, found.hd95_myocardium) == (1, 0)
    assert found.center_error == pytest.approx(2 * np.hypot(3.5, 0.5))  # the truth's centre is (5.5, 9.5)
    assert (found.vendor, found.site, found.reader, found.synthetic) == ("GE", "9", "someone", False)
    unknown = compare(replace(case, pixel_size_known=False), read, "someone")
    assert unknown.scar_expert is unknown.scar_reader is unknown.false_scar is unknown.myocardium_reader is None
    assert unknown.lge_reader == found.lge_reader


def test_hd95_of_a_shifted_block():
    a = np.zeros((3, 40, 40), bool)
    a[1, 10:20, 10:20] = True
    assert hd95(a, a, (8, 2, 1)) == 0
    assert hd95(a, np.roll(a, 5, axis=2), (8, 2, 1)) == 5
    assert hd95(a, np.roll(a, 3, axis=1), (8, 2, 1)) == 6
    assert hd95(a, np.roll(a, 1, axis=0), (8, 2, 1)) == 8
    assert hd95(a, a & False, (8, 2, 1)) is None


def test_phantoms_are_known_by_set_or_institution():
    case = toy_case(0)
    for changes in ({"source": "phantoms"}, {"source": "Phantom-207"}, {"site": "Synthetic"}):
        assert is_synthetic(replace(case, **changes))
    assert not is_synthetic(case)


def test_a_phantom_s_dicom_is_known_as_synthetic_and_by_its_vendor(tmp_path):
    write_cohort(tmp_path / "patients", 1, seed=3, vendor="philips")
    (case,) = read_cases(tmp_path / "patients")
    result = compare(case, case.label, "someone")
    assert (result.synthetic, result.vendor, result.source) == (True, "Philips", "patients")
    assert result.myocardium_expert > 30


def test_an_unknown_pixel_size_stays_unknown_in_a_file(tmp_path):
    for case in (toy_case(1), replace(toy_case(2), pixel_size_known=False)):
        write_npz(case, tmp_path / "set")
    assert [case.pixel_size_known for case in read_cases(tmp_path / "set")] == [True, False]


def test_looks_keep_the_set_and_the_vendor(cases):
    seen = [sparser(case) for case in cases]
    results = evaluate(cases, Knows().learn(seen), look=sparser)
    assert {(r.source, r.look, r.reader) for r in results} == {("toy", "sparser", "knows 1")}
    assert [r.vendor for r in results] == [case.vendor for case in cases]
    assert results[1].scar_expert == pytest.approx((seen[1].label == Tissue.SCAR).sum() * 4 * 16 / 1000)


def test_methods_run_inside_both_contours(cases):
    results = evaluate(cases[:2], Knows().learn(cases), methods=METHODS)
    assert len(results) == 2 * (1 + len(METHODS))
    inside = [r for r in results if r.contour]
    assert {r.contour for r in inside} == {"knows 1"}
    expert = evaluate_methods(cases[:2], METHODS)
    assert {r.contour for r in expert} == {EXPERT}
    # the reader knows the true contour: both are alike, and the wall is untouched
    assert [r.dice_scar for r in sorted(inside, key=lambda r: (r.name, r.reader))] == [
        r.dice_scar for r in sorted(expert, key=lambda r: (r.name, r.reader))
    ]
    assert all(r.dice_myocardium == r.dice_blood == 1 for r in expert)


# --- a group


def test_a_group_counts_as_published(cases):
    results = evaluate(cases, Knows(missed=0.5, called=400).learn(cases))
    s = summarise_group(results)
    assert (s.cases, s.scarred, s.both_empty) == (8, 5, 0)
    assert s.dice_scar.n == 5  # not the three that have false scar alone
    assert sum(s.dice_classes.values()) == 5
    assert s.false_scar.percent.n == s.false_scar.cases_with_any == 3
    assert s.false_scar.volume.mean == pytest.approx(400 * 4 * 8 / 1000)
    assert s.false_scar.unflagged_above_5_percent == 0 < s.false_scar.cases_above_5_percent
    assert s.lge.bland_altman.bias.value == pytest.approx(summarise(results)["lge_bias_points"])
    assert s.dice_scar.mean == pytest.approx(summarise(results)["dice_scar"])
    held = [abs(r.lge_expert - r.lge_reader) <= (3 if r.lge_expert > r.lge_reader else 2) for r in results]
    assert s.interval_holds.value == np.mean(held)
    assert (s.interval_width.n, s.interval_width.median) == (8, pytest.approx(5))
    with pytest.raises(ValueError, match="one a case"):
        summarise_group(results + results)


def test_a_missed_scar_counts_as_zero_and_a_lost_heart_as_lost(cases):
    s = summarise_group(evaluate(cases, Knows(blind=True).learn(cases)))
    assert (s.dice_scar.mean, s.dice_classes["poor"], s.lost) == (0, 5, 8)
    assert (s.large_scar.sensitivity.value, s.large_scar.ppv.value) == (0, None)
    assert (s.hd95.n, s.center_error.mean, s.both_empty) == (0, None, 3)


@pytest.mark.slow
def test_the_better_reader_wins_every_test():
    cases = toys(18)
    good, bad = (evaluate(cases, Knows(missed=m).learn(cases), f"{m}") for m in (0.1, 0.6))
    for number, result in enumerate(bad):  # some scatter, so that slopes have an error
        shaken = result.lge_reader * (0.8 + 0.4 * (number % 5) / 4)
        bad[number] = replace(result, lge_reader=shaken)
    found = compare_readers(good, bad)
    assert (found.first, found.second, found.cases) == ("0.1", "0.6", 18)
    assert found.dice.low > 0.2
    assert found.wilcoxon.p < 0.001
    assert found.lge.slope.low > 0.3
    assert found.lge.welch.p < 0.001
    assert found.lge.correlation.low > 0 < found.lge.meng.statistic
    assert found.volume.slope.value == pytest.approx(0.5, abs=0.01)
    back = compare_readers(bad, good)
    assert back.lge.welch.statistic == pytest.approx(-found.lge.welch.statistic)
    assert back.dice.value == pytest.approx(-found.dice.value)


def test_vendors_are_told_apart_where_they_differ():
    cases = toys(30)
    results = evaluate(cases, Knows().learn(cases))
    alike, none = dice_by_vendor(results), dice_by_vendor([replace(r, vendor="") for r in results])
    assert alike.p is None  # all Dice are one
    assert none.p is None
    worse = [
        replace(r, dice_scar=0.4 + i / 1000) if r.vendor == "GE" and r.has_scar else r for i, r in enumerate(results)
    ]
    assert dice_by_vendor(worse).p < 0.001
    assert list(by([*results, replace(results[0], vendor="")], "vendor")) == ["GE", "Philips", "Siemens", "unknown"]


# --- the report


def report_of(cases, networks, methods=("5 SD", "Otsu"), looks=()):
    chosen = {name: METHODS[name] for name in methods}
    results = []
    for name, segmenter in networks.items():
        results += evaluate(cases, segmenter.learn(cases), name, methods=chosen)
        for look in looks:
            results += evaluate(cases, segmenter.learn([look(case) for case in cases]), name, look)
    results += evaluate_methods(cases, chosen)
    known = tuple(Network(name, "1", name * 8, "toys", "mean") for name in networks)
    return write_report(Evaluation(known, tuple(results), "scarnode evaluate ..."))


def rows(report, heading):
    """Cells of the table under a heading."""
    part = report.split(f"### {heading}")[1].split("\n#")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if not line.startswith("|---")]


@pytest.mark.slow
def test_the_report_holds_every_section_and_no_nan(cases):
    report = report_of(cases, {"deep": Knows(missed=0.1), "flat": Knows(missed=0.5, called=100)}, METHODS, [sparser])
    assert RESEARCH_USE in report
    assert not re.search(r"\bnan\b|\bNone\b|inf\b", report)
    header, *body = rows(report, "By vendor and site")
    assert [row[0].split(",")[0] for row in body] == [
        *(f"vendor {v}" for v in sorted(VENDORS)),
        *("site 0", "site 1"),
        "all",
    ]
    assert header[1:] == [f"{w}: {n}" for w in ("scar volume", "%LGE", "scar Dice") for n in ("deep", "flat")]
    assert "-" not in body[-1][1:]
    assert rows(report, "Large scar")[0][1:3] == ["sensitivity", "PPV"]
    assert len(rows(report, "Intensity methods")) == 1 + 1 + 2 * len(METHODS)
    assert [row[1] for row in rows(report, "The same cases under other looks")[1:]] == ["as it is", "sparser"] * 2
    assert rows(report, "Cases without scar")[1][1] == "3"
    assert [row[1] for row in rows(report, "Quality flags")[1:]] == ["no flag", "OPEN_RING"]
    assert "deep − flat, n = 8" in report
    assert rows(report, "The interval")[1] == ["deep", "100.0 % (8/8; 63.1 to 100.0)", "5.0 points"]
    assert "synthetic" not in report


def test_every_row_of_phantoms_says_synthetic():
    networks = {"deep": Knows(missed=0.1), "flat": Knows(missed=0.5)}
    report = report_of(toys(source="phantoms"), networks, looks=[sparser])
    chapter = report.split("## phantoms (synthetic)")[1].split("## Published")[0]
    lines = chapter.splitlines()
    headers = {above for above, line in pairwise(lines) if line.startswith("|---")}
    body = [line for line in lines if line.startswith("|") and not line.startswith("|---") and line not in headers]
    assert len(body) > 30
    assert all("(synthetic)" in line.split("|")[1] for line in body)


def test_a_set_without_pixel_size_tells_no_volume(cases):
    report = report_of([replace(case, pixel_size_known=False) for case in cases], {"deep": Knows(missed=0.1)})
    assert "Pixel size unknown" in report
    assert all(row[1] == "pixel size unknown" for row in rows(report, "By vendor and site")[1:])
    assert rows(report, "Agreement")[1][2] == "pixel size unknown"
    assert "mL" not in "".join("".join(row) for row in rows(report, "Agreement")[2:])


@pytest.mark.parametrize(("count", "scar"), [(1, False), (1, True), (2, True), (3, False)])
def test_sets_too_small_for_statistics_still_give_a_report(count, scar):
    cases = [toy_case(i, scar=scar) for i in range(count)]
    for networks in ({"deep": Knows()}, {"deep": Knows(missed=0.3), "blind": Knows(blind=True)}):
        report = report_of(cases, networks)
        assert not re.search(r"\bnan\b|\bNone\b", report)
        assert f"{count} cases" in report


def test_cases_that_may_have_trained_a_network_are_named(cases):
    results = tuple(evaluate(cases, Knows().learn(cases), "deep"))
    network = Network("deep", "1", "0", "toys", "mean", frozenset({"toy"}), frozenset({"toy/toy1", "toy/toy2"}))
    assert "**6 of these cases may have trained deep**" in write_report(Evaluation((network,), results, ""))
    network = replace(network, trained_on=frozenset({"emidec"}))
    assert "may have trained" not in write_report(Evaluation((network,), results, ""))


# --- the command


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets") / "phantoms"
    for case in toys(3, slices=3):
        write_npz(case, folder)
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A 3D and a 2D network of random weights: they read nonsense, but as networks do."""
    import torch

    paths = []
    for dims in (3, 2):
        torch.manual_seed(0)
        parts = [(UNet(UNetSettings(width=8, levels=2, dims=d)).eval(), s) for d, s in ((2, 6.0), (dims, 2.8))]
        path = tmp_path_factory.mktemp("weights") / f"random{dims}d.safetensors"
        card = {"data": {"cases_trained_on": {"outline": {"phantoms": 4}}, "held_out": ["phantoms/toy0"]}}
        write_weights(path, *parts, name=f"random{dims}d", version="0", training_data="nothing", card=card)
        paths.append(path)
    return paths


@pytest.mark.slow
def test_the_command_writes_report_numbers_and_figures(folder, weights, tmp_path, monkeypatch, capsys):
    arguments = ["evaluate", str(folder), "-o", str(tmp_path), "--merge", "mean", "--merge", "max", "--look", "sparser"]
    arguments += [part for path in weights for part in ("--weights", str(path))]
    monkeypatch.setattr(sys, "argv", ["scarnode", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code in (0, None)
    assert RESEARCH_USE in capsys.readouterr().out
    report = (tmp_path / "report.md").read_text()
    assert "scarnode evaluate" in report
    names = ["random3d 0", "random3d 0, scar by max", "random2d 0", "random2d 0, scar by max"]
    assert [row[0] for row in rows(report, "In short")[1:]] == [f"{name} (synthetic)" for name in names]
    assert "**2 of these cases may have trained random2d 0**" in report
    stored = json.loads((tmp_path / "results.json").read_text())
    assert [network["merge"] for network in stored["networks"]] == ["mean", "max"] * 2
    assert stored["sets"]["phantoms"]["synthetic"] is True
    assert set(stored["sets"]["phantoms"]["networks"]) == set(names)
    assert set(stored["sets"]["phantoms"]["networks"][names[0]]["by_vendor"]) == set(VENDORS)
    assert len(stored["sets"]["phantoms"]["differences"]) == 6
    assert len(stored["results"]) == 3 * (4 * 2 + 2 * len(METHODS))
    shown = re.findall(r"\]\((.*\.png)\)", report)
    assert len(shown) == 5
    for file in shown:
        assert (tmp_path / file).read_bytes()[:4] == b"\x89PNG"


def test_held_out_takes_the_fifth_that_training_keeps(folder, weights, tmp_path):
    cases = toys(5, slices=2)
    for case in cases:
        write_npz(case, tmp_path / "toy")
    run(EvaluationSettings((tmp_path / "toy",), tmp_path, (weights[0],), held_out=True, methods=False))
    stored = json.loads((tmp_path / "results.json").read_text())
    assert [r["name"] for r in stored["results"]] == [case.name for case in split(cases)[1]]
    assert len(stored["results"]) == 1
    assert "Intensity methods" not in (tmp_path / "report.md").read_text()
    with pytest.raises(InputError, match="no case is held out of so few"):
        run(EvaluationSettings((folder,), tmp_path, (weights[0],), held_out=True))


def test_what_can_not_be_evaluated_is_said_before_anything_is_read(folder, weights, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"unknown look 'sideways' -> choose of darkened, .*, other_center"):
        run(EvaluationSettings((folder,), tmp_path, looks=("sideways",)))
    with pytest.raises(InputError, match="unknown merge 'median'"):
        run(EvaluationSettings((folder,), tmp_path, merges=("median",)))
    with pytest.raises(InputError, match="3 cases come twice, the first is phantoms/toy0"):
        run(EvaluationSettings((folder, folder), tmp_path, (weights[0],)))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ScarnodeError, match=r"matplotlib is not installed -> pip install 'scarnode\[lab\]'"):
        run(EvaluationSettings((folder,), tmp_path))


def test_the_means_on_real_held_out_images_are_those_of_the_card(real_data):
    """Two of the held-out cases: the shipped weights' card lists each case's figures."""
    from scarnode.pipeline.segment import shipped_weights
    from scarnode.pipeline.segment.card import read_card

    card = read_card(shipped_weights())["metrics"]["emidec"]["by_case"]
    held = [case for case in split(read_emidec(real_data / "emidec"))[1] if case.name in card][:2]
    for result in evaluate(held, Segmenter(device="cpu")):
        assert result.scar_expert is None  # no pixel size
        assert result.dice_myocardium == pytest.approx(card[result.name]["dice_myocardium"], abs=0.05)
        assert result.lge_expert == pytest.approx(card[result.name]["lge_expert"], abs=0.001)
