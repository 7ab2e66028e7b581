"""No cell of a table becomes a formula."""

import csv
import io

import pytest

from scarnode.ledger.cohort import read_cohort
from scarnode.util.tables import cell, plain_text, to_csv

FORMULAS = [
    "=HYPERLINK(1)",
    "+1+1",
    "-1+1",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    " =1",
    "\uff1d1+1",
    "-cmd|' /C calc'!A0",
    '=1,"x"',
    "+",
    "\n=2",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_text(text):
    assert str(cell(text)).startswith("'")
    [[written]] = list(csv.reader(io.StringIO(to_csv([text], []))))
    assert written.startswith("'")


@pytest.mark.parametrize("value", ["-1", "+49123", "-1.5e-3", "1.2.840", "Doe^Jane", "", None, -1, 2.5, "a=b", "x-1"])
def test_everything_else_stays(value):
    assert cell(value) == value


def test_control_characters_reach_no_table():
    assert cell("ESC\x1b[31mRED") == "ESC [31mRED"


def test_a_cohort_written_by_us_is_read_again(tmp_path):
    path = tmp_path / "cohort.csv"
    path.write_text(to_csv(["accession_number", "note"], [("=1+2", "@x"), ("A1", "")]))
    assert [member.accession for member in read_cohort(path).members] == ["=1+2", "A1"]
    assert plain_text("'tis") == "'tis"
