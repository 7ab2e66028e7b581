"""A hospital with its own contours fine-tunes the shipped weights with one command."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from scarnode.cases.model import Case, write_npz
from scarnode.phantom import PhantomSettings
from scarnode.phantom.dicom import write_cohort
from scarnode.pipeline.segment import read_identity, shipped_weights
from scarnode.pipeline.segment.card import read_card
from scarnode.pipeline.segment.predict import Segmenter
from scarnode.training import run
from scarnode.training.export import pack
from scarnode.training.networks import Origin, case_label, merged, read_part
from scarnode.training.run import plan, train_and_pack
from scarnode.training.train import draw, load_cases, loss_of, prepare_training_sets
from scarnode.util.errors import InputError
from tests.training.toys import toy_case

SMALL = PhantomSettings(
    matrix=(112, 128), pixel_spacing=2.2, slices=3, slice_thickness=8.0, slice_distance=12.0, scar_fraction=0.25
)


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    """Four patients as DICOM with SEG."""
    folder = tmp_path_factory.mktemp("h") / "our hospital"
    write_cohort(folder, 4, 40, "mix", SMALL)
    return folder


@pytest.fixture(scope="module")
def tuned(hospital, tmp_path_factory):
    """Settings, weights and what was said; a small crop, so that the shipped network learns in seconds."""
    settings = plan([hospital], tmp_path_factory.mktemp("run"), initial="shipped", steps=20, threads=1)
    settings = replace(settings, crop=40, batch=3, rate=1e-3)
    said, losses = [], []
    weights = train_and_pack(
        settings, command="test", progress=lambda _, loss: losses.append(loss), announce=said.append
    )
    return settings, weights, said, losses


@pytest.mark.slow
def test_the_loss_on_the_hospital_s_cases_goes_down(tuned):
    settings, weights, said, losses = tuned
    assert said[0] == "3 cases of our hospital to train on, 3 with scar; 1 held out"
    assert len(losses) == 20
    kinds, _ = load_cases(settings)
    image, label = draw(replace(settings, batch=6, augment="paper"), prepare_training_sets(settings, kinds), 12345)

    def loss(file) -> float:
        network = read_part(file, "outline").network
        with torch.no_grad():
            return float(loss_of(settings, network(image), label))

    assert loss(weights) < 0.9 * loss(shipped_weights())


@pytest.mark.slow
def test_the_weights_are_used_by_the_node_s_segmenter(tuned):
    settings, weights, _, _ = tuned
    _, (case,) = load_cases(settings)
    found = Segmenter(weights, device="cpu").segment(case.image, case.pixel_spacing)
    assert found.labels.shape == case.label.shape
    assert found.model.sha256 == read_identity(weights).sha256 != read_identity().sha256
    assert found.model.version == f"{read_identity().version}+our-hospital.20"
    assert "our hospital" in found.model.training_data
    theirs, ours = load_file(shipped_weights()), load_file(weights)
    assert all(torch.equal(theirs[key], ours[key]) for key in theirs if key.startswith("finder."))
    assert not torch.equal(theirs["outline.head.weight"], ours["outline.head.weight"])


@pytest.mark.slow
def test_the_card_tells_the_truth(tuned, hospital):
    settings, weights, _, _ = tuned
    card, shipped = read_card(weights), read_card(shipped_weights())
    assert card["use"] == "Research use only, not for diagnostic use"
    assert card["licence"] == shipped["licence"]
    assert card["licence"].startswith("CC BY-NC-SA 4.0")
    assert set(card["data"]["sources"]) == set(shipped["data"]["sources"])
    licence = (weights.parent / "LICENSE-weights.md").read_text()
    assert all(source in licence for source in card["data"]["sources"])
    before = shipped["data"]["cases_trained_on"]
    assert card["data"]["cases_trained_on"] == {
        "finder": before["finder"],
        "outline": {**before["outline"], "our hospital": 3},
    }
    _, (case,) = load_cases(settings)
    label = case_label("our hospital", case.name)
    assert set(card["data"]["held_out"]) == {*shipped["data"]["held_out"], label}
    assert card["training"]["outline"]["started_from"]["sha256"] == shipped["sha256"]
    assert card["training"]["outline"]["steps"] == 20
    assert card["training"]["finder"]["taken_from"]["version"] == shipped["version"]
    assert set(shipped["limits"]) < set(card["limits"])
    measured = card["metrics"]["our hospital"]
    assert measured["cases"] == measured["before"]["cases"] == 1
    ((key, row),) = measured["by_case"].items()
    assert key == label.split("/")[1]
    assert "site" not in row
    text = weights.with_suffix(".json").read_text()
    assert str(hospital) not in text  # nor the machine's paths,
    assert case.name not in text  # nor the patients' names


@pytest.mark.slow
def test_the_same_call_again_only_packs(tuned):
    settings, weights, _, _ = tuned
    before, steps = weights.read_bytes(), []
    assert train_and_pack(settings, progress=lambda done, _: steps.append(done)) == weights
    assert steps == []
    assert weights.read_bytes() == before


@pytest.mark.slow
def test_fine_tuned_weights_are_fine_tuned_again(tuned, tmp_path):
    """Data, licence and held-out cases are handed down."""
    _, weights, _, _ = tuned
    for seed in range(4):
        write_npz(toy_case(seed, scar=True), tmp_path / "annex")
    settings = plan([tmp_path / "annex"], tmp_path / "run", initial=str(weights), steps=1, held_out=0, threads=1)
    card = read_card(train_and_pack(replace(settings, crop=16, batch=1)))
    assert card["data"]["cases_trained_on"]["outline"]["our hospital"] == 3
    assert card["data"]["cases_trained_on"]["outline"]["annex"] == 4
    assert card["licence"].startswith("CC BY-NC-SA 4.0")
    assert set(card["data"]["held_out"]) == set(read_card(weights)["data"]["held_out"])
    assert card["training"]["outline"]["started_from"]["sha256"] == read_identity(weights).sha256


def test_cases_that_the_start_was_trained_on_are_not_called_held_out():
    start = Origin({}, 1, {}, {"emidec": 63, "ours": 9}, ("emidec/a", "emidec/b", "ours/x"), ())
    trained, held = merged({"ours": 12, "new": 4}, ["ours/x", "ours/y", "new/z"], start)
    assert trained == {"emidec": 63, "ours": 12, "new": 4}
    assert held == ["emidec/a", "emidec/b", "new/z", "ours/x"]
    blank = np.zeros((1, 2, 2), np.float32)

    def case(source: str, name: str) -> Case:
        return Case(blank, blank.astype(np.uint8), (1, 1), 8, name, source)

    assert not start.knows(case("emidec", "a"))
    assert start.knows(case("emidec", "c"))
    assert not start.knows(case("elsewhere", "c"))


def test_no_metric_from_cases_that_were_trained_on(tmp_path):
    """The shipped finder was trained on most of EMIDEC: a case of that set must be one of its held-out ones."""
    toy = toy_case(1, scar=True)
    known = read_card(shipped_weights())["data"]["held_out"]
    held_name = next(label.split("/")[1] for label in known if label.startswith("emidec/"))
    cases = [replace(toy, source="emidec", name=name) for name in ("a trained one", held_name)]
    path = tmp_path / "w.safetensors"
    card = pack(shipped_weights(), shipped_weights(), cases, path, version="1", command="", limits=[])
    assert card["metrics"]["emidec"]["cases"] == 1
    assert list(card["metrics"]["emidec"]["by_case"]) == [held_name]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"initial": "nowhere.safetensors"}, "there is no such file"),
        ({"initial": "shipped", "dims": 2}, "the weights to start from have 3 dimensions, asked for are 2"),
        ({"dims": 4}, "give 2 or 3"),
        ({"steps": 0}, "give 1 or more"),
        ({"held_out": 1.0}, "give 0 to below 1"),
        ({"preset_name": "best"}, "unknown preset 'best'"),
    ],
)
def test_what_can_not_be_planned(options, message, tmp_path):
    with pytest.raises(InputError, match=message):
        plan([tmp_path], tmp_path / "out", **options)


def test_plans(tmp_path):
    assert plan([tmp_path], tmp_path, dims=2).unet.dims == 2
    assert plan([tmp_path], tmp_path, preset_name="finder").part == "finder"
    tune = plan([tmp_path], tmp_path, initial="shipped")
    scratch = plan([tmp_path], tmp_path)
    assert tune.steps < scratch.steps
    assert tune.rate < scratch.rate
    assert tune.unet == read_part(shipped_weights(), "outline").network.settings


def test_the_command(scarnode, tmp_path, monkeypatch):
    for seed in (1, 2, 3):
        write_npz(toy_case(seed, scar=True), tmp_path / "ours")
    monkeypatch.setattr(run, "FINE_TUNING", {**run.FINE_TUNING, "crop": 16, "batch": 1})
    words = ("train", tmp_path / "ours", "-o", tmp_path / "run", "--initial", "shipped", "--threads", 1)
    done = scarnode(*words, "--steps", 3)
    assert "2 cases of ours to train on, 2 with scar; 1 held out" in done.stdout
    for text in ("before", "after", "Research use only", "CC BY-NC-SA 4.0", "[segment] weights = "):
        assert text in done.stdout
    card = json.loads((tmp_path / "run" / "weights.json").read_text())
    assert card["command"] == "scarnode train ours -o run --initial shipped --threads 1 --steps 3"
    refused = scarnode(*words, "--steps", 3, "--seed", 5, code=2)
    assert "seed was 0, now 5" in refused.stderr.replace("\n", " ")
    monkeypatch.setattr(run, "train", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert "the same command goes on" in scarnode(*words, "--steps", 9, code=130).stdout
