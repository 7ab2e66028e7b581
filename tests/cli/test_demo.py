"""The demo is the whole walk: it must end well, and quickly."""

import re
from pathlib import Path

from PIL import Image
from pydicom import dcmread
from rich.console import Console

from scarnode import RESEARCH_USE
from scarnode.cli.demo import run

README = Path(__file__).resolve().parents[2] / "README.md"


def printed(text: str) -> list[str]:
    """Return lines without what differs from run to run: ports, seconds, and what a processor's arithmetic measures."""
    text = re.sub(r"(port |· )\d+", r"\1N", text)
    return [re.sub(r"│ [\d. ]+ │$", "│ N │", line.rstrip()) for line in text.strip().splitlines()]


def test_the_demo_brings_everything_back(tmp_path):
    console = Console(record=True, width=120)
    assert run(tmp_path, console) == 0
    text = console.export_text()
    assert RESEARCH_USE in text
    assert "Synthetic" in text
    assert dcmread(tmp_path / "seg.dcm").Modality == "SEG"
    assert dcmread(tmp_path / "sr.dcm").Modality == "SR"
    assert Image.open(tmp_path / "sheet.png").width > 800
    shown = re.search(r"```\n(1\. synthetic.*?)```", README.read_text(), re.DOTALL)[1]
    assert printed(text.replace(str(tmp_path), "scarnode-demo")) == printed(shown)
