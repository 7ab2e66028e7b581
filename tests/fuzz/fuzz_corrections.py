"""The readers of corrected SEGs take any bytes: a reason or an InputError."""

import contextlib
import tempfile
from functools import cache
from pathlib import Path

from common import atheris, fuzz

with atheris.instrument_imports(include=["scarnode", "pydicom"]):
    from scarnode.pipeline.correct.read import read_correction
    from scarnode.pipeline.correct.recognise import NoCorrectionError, find_corrected_stack
    from scarnode.pipeline.stack import find_stacks
    from scarnode.util.errors import InputError

IMAGES = Path(tempfile.mkdtemp(prefix="fuzz-"))


def segs(folder: Path) -> list[Path]:
    """The node's own SEG of a phantom, of which a person takes half the scar away."""
    from datetime import datetime

    from scarnode.phantom import PhantomSettings, make_phantom
    from scarnode.phantom.dicom import write_dicom
    from scarnode.pipeline.measure import measure
    from scarnode.pipeline.report import Provenance, build_results
    from scarnode.pipeline.segment import ModelIdentity, Segmentation
    from scarnode.pipeline.stack import read_volume
    from tests.harness.viewer import edited, save

    phantom = make_phantom(2, PhantomSettings(matrix=(96, 96), slices=3, component="magnitude", scar_fraction=0.2))
    [stack] = find_stacks(write_dicom(phantom, IMAGES)).stacks
    found, volume = Segmentation(phantom.label, None, ModelIdentity("n", "1", "f" * 64, "")), read_volume(stack)
    numbers, provenance = measure(stack, volume, found), Provenance("k" * 64, "d" * 64, "1", datetime(2026, 1, 1))
    own = build_results(stack, volume, found, numbers, provenance).seg
    return [save(own, folder / "own.dcm"), save(edited(own, lambda labels: None), folder / "edited.dcm")]


@cache
def stacks_of_the_images() -> tuple:
    return find_stacks(sorted(IMAGES.rglob("*.dcm"))).stacks


def target(path: Path) -> None:
    stacks = stacks_of_the_images()
    with contextlib.suppress(NoCorrectionError):
        find_corrected_stack(path, stacks)
    with contextlib.suppress(InputError, NoCorrectionError):
        read_correction(path, stacks[0])


fuzz("corrections", segs, target)
