"""The demo is the whole walk: it must end well, and quickly."""

from PIL import Image
from pydicom import dcmread
from rich.console import Console

from scarnode import RESEARCH_USE
from scarnode.cli.demo import run


def test_the_demo_brings_everything_back(tmp_path):
    console = Console(record=True, width=120)
    assert run(tmp_path, console) == 0
    text = console.export_text()
    assert RESEARCH_USE in text
    assert "Synthetic" in text
    assert dcmread(tmp_path / "seg.dcm").Modality == "SEG"
    assert dcmread(tmp_path / "sr.dcm").Modality == "SR"
    assert Image.open(tmp_path / "sheet.png").width > 800
