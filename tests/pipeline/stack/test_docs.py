"""docs/recognition.md says what the code does."""

import dataclasses
import re
from pathlib import Path

from scarnode.pipeline.stack import REASONS, Flag, Rules
from scarnode.pipeline.stack.rules import NAMES_OF_OTHERS

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs" / "recognition.md").read_text(encoding="utf-8")


def test_table_of_reasons_is_the_codes():
    table = dict(re.findall(r"^\| `([A-Z_]+)` \| (.+) \|$", TEXT, re.MULTILINE))
    assert table == REASONS


def test_every_code_used_is_explained():
    """Each constant in the sources that looks like a code and stands where one is returned is a key of REASONS."""
    known = set(REASONS) | {flag.value for flag in Flag}
    seen = set()
    for path in (ROOT / "scarnode" / "pipeline" / "stack").glob("*.py"):
        source = path.read_text(encoding="utf-8")
        codes = re.findall(r'(?:return |Verdict\.\w+, |\(|fault=)"([A-Z]+(?:_[A-Z]+)+)"', source)
        codes += re.findall(r'InputError\(f?"([A-Z_]{5,}):', source)
        used = {code for code in codes if "_" in code and not code.startswith(("M_", "CR_", "R_", "I_"))}
        assert used <= known, path
        seen |= used
    assert {"BAD_GEOMETRY", "NO_PIXEL_DATA", "NAME_UNCERTAIN"} <= seen
    assert set(NAMES_OF_OTHERS.values()) <= known


def test_settings_named_in_the_docs_exist():
    fields = {field.name for field in dataclasses.fields(Rules)}
    named = set(re.findall(r"`((?:site|weight|inversion|max|accept|review|lge|weak|short_axis|gradient)_\w+)`", TEXT))
    assert named <= fields
    assert "site_accept" in named
