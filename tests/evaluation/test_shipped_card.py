"""The card of the shipped weights says what a user must know before using them."""

import pytest

from scarnode import RESEARCH_USE
from scarnode.pipeline.segment import shipped_weights
from scarnode.pipeline.segment.card import read_card
from scarnode.training.networks import LICENCES, read_part

DICE = ("dice_blood", "dice_myocardium", "dice_scar", "lge_bias_points", "false_scar_percent_median", "hearts_lost")


@pytest.fixture(scope="module")
def card():
    return read_card(shipped_weights())


def test_use_limits_and_how_it_was_made(card):
    assert card["use"] == RESEARCH_USE
    assert len(card["limits"]) > 1
    assert card["command"]
    assert card["date"]


def test_licence_follows_the_data(card):
    trained = {source for part in card["data"]["cases_trained_on"].values() for source in part}
    owed = {LICENCES[source] for source in trained if source in LICENCES}
    assert owed <= set(card["data"]["sources"])
    assert card["licence"].startswith("CC BY-NC-SA 4.0")
    text = (shipped_weights().parent / "LICENSE-weights.md").read_text()
    for word in ("CC BY-NC-SA 4.0", "EMIDEC", "ACDC", "Data 2020", "IEEE T", RESEARCH_USE):
        assert word in text


def test_metrics_of_every_held_out_set(card):
    for source in {label.split("/")[0] for label in card["data"]["held_out"]}:
        measured = card["metrics"][source]
        assert set(DICE) <= set(measured)
        assert measured["cases"] == len(measured["by_case"])
        assert {f"{source}/{name}" for name in measured["by_case"]} <= set(card["data"]["held_out"])


@pytest.mark.parametrize("part", ["finder", "outline"])
def test_fine_tuning_can_start_from_it(card, part):
    origin = read_part(shipped_weights(), part).origin
    assert origin.trained_on == card["data"]["cases_trained_on"][part]
    assert origin.steps > 0
