"""Fixtures shared by all rooms."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real images (emidec/, acdc_ed/, dicom/), never part of the repository."""
    folder = Path(os.environ.get("SCARNODE_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real images not present: {folder} (set SCARNODE_TEST_DATA)")
    return folder
