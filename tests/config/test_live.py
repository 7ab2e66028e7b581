"""What a reload takes over: the docs' table, the code's, and what `merge` does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from scarnode.config import SECTIONS, DestinationSection, Settings
from scarnode.config.live import RESTART, merge
from scarnode.pipeline.stack import Rules

DOCS = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"
KEYS = [(section, key) for section, model in SECTIONS.items() for key in model.model_fields]


def changed(section: str, key: str) -> Settings:
    """Give settings in which one key has another value (of no right type: `merge` only compares)."""
    part: BaseModel = getattr(Settings(), section)
    return Settings().model_copy(update={section: part.model_copy(update={key: object()})})


def test_the_docs_table_is_the_codes():
    rows = re.findall(r"^\| `\[(\w+)\]` \| (.*?) ?\| ?(.*?) ?\|$", DOCS.read_text(), re.MULTILINE)
    told = {section: [re.findall(r"`(\w+)`", cell) for cell in cells] for section, *cells in rows}
    assert told.pop("recognition") == [[], []]
    true = {
        section: [
            [key for key in model.model_fields if key not in RESTART.get(section, ())],
            [key for key in model.model_fields if key in RESTART.get(section, ())],
        ]
        for section, model in SECTIONS.items()
    }
    assert told == true


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_each_key_is_taken_over_or_named(section, key):
    running, read = Settings(), changed(section, key)
    merged, kept = merge(running, read)
    if key in RESTART.get(section, ()):
        assert (merged, kept) == (running, (f"[{section}] {key}",))
    else:
        assert (merged, kept) == (read, ())


def test_a_section_that_needs_a_restart_is_kept_whole_and_the_others_are_not():
    running = Settings()
    read = changed("tls", "port").model_copy(update={"recognition": Rules(accept_score=9)})
    read = read.model_copy(update={"tls": read.tls.model_copy(update={"mutual": False})})
    merged, kept = merge(running, read)
    assert kept == ("[tls] port",)
    assert merged.tls == running.tls
    assert merged.recognition.accept_score == 9


def test_destinations_are_taken_over():
    there = {"pacs": DestinationSection(host="h", port=1, ae_title="A")}
    merged, kept = merge(Settings(destinations=there), Settings())
    assert (merged.destinations, kept) == ({}, ())
    merged, kept = merge(Settings(), Settings(destinations=there))
    assert (merged.destinations, kept) == (there, ())
