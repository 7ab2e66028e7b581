"""Training learns, continues where it stopped, and packs into weights that the segmenter reads."""

import json
import signal

import numpy as np
import pytest
import torch

from scarnode.cases.model import read_npz, write_npz
from scarnode.evaluation.metrics import dice, evaluate, lge_percent, summarise
from scarnode.pipeline.segment import Tissue
from scarnode.pipeline.segment.predict import Segmenter
from scarnode.pipeline.segment.unet import UNet, UNetSettings
from scarnode.training.export import pack
from scarnode.training.networks import case_label
from scarnode.training.settings import TrainSettings, preset
from scarnode.training.train import loss_of, train
from scarnode.util.errors import InputError
from tests.training.toys import toy_case

TINY = UNetSettings(width=8, levels=3)
FLAT = UNetSettings(width=8, levels=3, dims=2)


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases") / "toy"
    for seed in range(10):
        write_npz(toy_case(seed, scar=seed % 2 == 0), folder)
    return folder


def small(out, folder, **changes) -> TrainSettings:
    common = {"spacing": 2.8, "canvas": 64, "size": 56, "crop": 40, "batch": 3, "threads": 1}
    return TrainSettings(
        out=out, folders=(folder,), shares=(0, 0, 1), **{"unet": TINY, "shift": 4.0, **common, **changes}
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory, toys):
    out = tmp_path_factory.mktemp("runs")
    train(small(out / "outline", toys, steps=150, rate=5e-3, augment="paper", average=0.95))
    train(small(out / "finder", toys, steps=60, rate=5e-3, augment="paper", unet=FLAT, spacing=5.6, average=0.9))
    return out


@pytest.mark.slow
def test_the_loss_falls(runs):
    log = [json.loads(line) for line in (runs / "outline" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["step"] == 150
    assert log[-1]["loss"] < 0.4 * log[0]["loss"]


@pytest.mark.slow
def test_trained_networks_pack_into_weights_that_read_held_out_cases(runs, toys, tmp_path):
    held = json.loads((runs / "outline" / "settings.json").read_text())["held_out"]
    assert held == json.loads((runs / "finder" / "settings.json").read_text())["held_out"]
    cases = [case for case in read_npz(toys) if f"toy/{case.name}" in held]
    assert len(cases) == 2
    card = pack(
        runs / "finder",
        runs / "outline",
        cases,
        tmp_path / "w.safetensors",
        version="0",
        command="test",
        limits=["a toy"],
    )
    # The names of people's own cases stay at home.
    assert card["data"]["held_out"] == sorted(case_label("toy", case.name) for case in cases)
    assert card["licence"] == "as you choose"
    assert not (tmp_path / "LICENSE-weights.md").exists()
    assert card["data"]["cases_trained_on"] == {"finder": {"toy": 8}, "outline": {"toy": 8}}
    assert card["training_data"] == "toy"
    results = evaluate(cases, Segmenter(tmp_path / "w.safetensors", device="cpu"))
    assert min(r.dice_myocardium for r in results) > 0.8
    assert min(r.dice_blood for r in results) > 0.85
    assert max(r.center_error for r in results) < 5
    (scarred,) = [r for r in results if r.has_scar]
    assert scarred.dice_scar > 0.5
    stored = json.loads((tmp_path / "w.json").read_text())
    assert stored["metrics"]["toy"]["dice_myocardium"] == round(summarise(results)["dice_myocardium"], 4)


@pytest.mark.slow
def test_a_continued_run_equals_an_unbroken_one(toys, tmp_path):
    """Ctrl-C in the middle of a step writes a checkpoint, from which the same call goes on."""
    steps = {"steps": 6, "batch": 2, "crop": 24}
    whole = torch.load(train(small(tmp_path / "whole", toys, **steps)), weights_only=True)

    def interrupt(done: int, loss: float) -> None:
        if done == 4:
            signal.raise_signal(signal.SIGINT)

    settings = small(tmp_path / "parts", toys, **steps)
    with pytest.raises(KeyboardInterrupt):
        train(settings, interrupt)
    assert torch.load(settings.out / "checkpoint.pt", weights_only=True)["step"] == 4
    with (settings.out / "log.jsonl").open("a") as log:
        log.write('{"step": 5, "loss": 0.1}\n{"step": 6, "lo')  # what a killed run leaves behind
    parts = torch.load(train(settings), weights_only=True)
    for key, value in whole["network"].items():
        torch.testing.assert_close(parts["network"][key], value, msg=key)
    logs = [[json.loads(line) for line in (tmp_path / run / "log.jsonl").open()] for run in ("whole", "parts")]
    assert [entry["step"] for entry in logs[1]] == [entry["step"] for entry in logs[0]] == [1, 2, 3, 4, 5, 6]
    assert [entry["loss"] for entry in logs[1]] == pytest.approx([entry["loss"] for entry in logs[0]], abs=2e-3)


def test_a_checkpoint_is_not_continued_otherwise(toys, tmp_path):
    common = {"batch": 1, "crop": 16}
    train(small(tmp_path / "run", toys, steps=2, **common))
    with pytest.raises(InputError, match=r"other settings \(rate was 0.002, now 0.1; seed was 0, now 3\).*first call"):
        train(small(tmp_path / "run", toys, steps=2, rate=0.1, seed=3, **common))
    with pytest.raises(InputError, match="has 2 steps already, asked for are 1"):
        train(small(tmp_path / "run", toys, steps=1, **common))
    with pytest.raises(InputError, match=r"held_out_share was 0\.2, now 0\.5"):
        train(small(tmp_path / "run", toys, steps=2, held_out_share=0.5, **common))
    other = tmp_path / "toy"
    write_npz(toy_case(20), other)
    with pytest.raises(InputError, match="trained on other cases"):
        train(small(tmp_path / "run", other, steps=2, **common))
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:3000])
    with pytest.raises(InputError, match="can not be read"):
        train(small(tmp_path / "run", toys, steps=2, **common))


@pytest.mark.slow
def test_fine_tuning_starts_from_given_weights(runs, toys, tmp_path):
    given = runs / "outline" / "checkpoint.pt"
    tuned = train(small(tmp_path / "tuned", toys, steps=1, initial=given, rate=0.0, augment="paper"))
    before, after = (torch.load(p, weights_only=True)["average"] for p in (given, tuned))
    assert torch.equal(before["head.weight"], after["head.weight"])


def test_presets():
    assert preset("paper", out=None).loss == "paper"
    assert preset("finder", out=None, steps=7).steps == 7
    with pytest.raises(InputError, match="choose one of shipped, finder, paper"):
        preset("best", out=None)


def test_nothing_to_train_on(tmp_path):
    with pytest.raises(InputError, match="no case"):
        train(TrainSettings(out=tmp_path))


def test_paper_loss_weights_windows_by_their_scar():
    settings = TrainSettings(out=None, loss="paper")
    logits = torch.randn(2, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    label = torch.zeros(2, 3, 8, 8, dtype=torch.long)
    label[1, :, :5, :4] = Tissue.SCAR
    entropy = torch.nn.functional.cross_entropy(logits, label, reduction="none").mean((1, 2, 3))
    expected = (entropy * torch.log(torch.tensor([10.0, 70.0]))).mean()
    torch.testing.assert_close(loss_of(settings, logits, label), expected)


def test_the_flat_network_does_not_see_neighbours_and_the_deep_one_does():
    x = torch.randn(1, 1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    other = x.clone()
    other[:, :, 2] += 1
    for settings, same in ((FLAT, True), (TINY, False)):
        network = UNet(settings).eval()
        with torch.no_grad():
            assert torch.equal(network(x)[:, :, 0], network(other)[:, :, 0]) == same


def test_convolution_over_slices_equals_a_3d_convolution():
    from scarnode.pipeline.segment.unet import SliceConv

    layer = SliceConv(5, 7, depth=3)
    x = torch.randn(2, 5, 4, 9, 8)
    expected = torch.nn.functional.conv3d(x, layer.weight, padding=1)
    result = layer(x.transpose(1, 2).flatten(0, 1), slices=4).unflatten(0, (2, 4)).transpose(1, 2)
    torch.testing.assert_close(result, expected, atol=1e-4, rtol=1e-4)


def test_dice_and_lge():
    a, b = np.array([1, 1, 0, 0], bool), np.array([1, 0, 1, 0], bool)
    assert dice(a, b) == 0.5
    assert dice(a & ~a, b & ~b) is None
    assert lge_percent(np.array([0, 1, 2, 2, 2, 3])) == 25
    assert lge_percent(np.array([0, 1])) == 0
