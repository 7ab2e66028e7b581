"""Segmentation objects as other people's tools write them."""

from pathlib import Path

import highdicom as hd
import numpy as np
from pydicom import dcmread
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

TISSUE = Code("85756007", "SCT", "Tissue")


def foreign_seg(
    path: Path,
    images: list[Path],
    masks: dict[str, np.ndarray],
    *,
    kind: str = "BINARY",
    codes: dict[str, Code] | None = None,
    mirrored: bool = False,
    cropped: int = 0,
    shift: float = 0.0,
    finer: int = 1,
) -> Path:
    """Write a SEG of `masks` (bool, one slice for each image) with frames in a random order.

    Parameters
    ----------
    mirrored : bool
        Frames run from right to left, on a grid of their own.
    cropped : int
        Pixels cut off at every side.
    shift : float
        mm along the normal that the frames are moved.
    finer : int
        So many frames for each image, spread evenly (the middle one on the image).
    """
    sources = [dcmread(image) for image in images]
    order = np.random.default_rng(5).permutation(len(sources))
    pixels = np.stack(list(masks.values()), -1)[order]
    sources = [sources[i] for i in order]
    orientation = np.array(sources[0].ImageOrientationPatient, float)
    spacing = [float(size) for size in sources[0].PixelSpacing]
    positions = np.array([source.ImagePositionPatient for source in sources], float)
    row, column = orientation[:3], orientation[3:]
    normal = np.cross(row, column)
    gap = float(sources[0].SpacingBetweenSlices)
    if mirrored:
        pixels = pixels[:, :, ::-1]
        positions += row * (pixels.shape[2] - 1) * spacing[1]
        row = -row
    if cropped:
        pixels = pixels[:, cropped:-cropped, cropped:-cropped]
        positions += cropped * (row * spacing[1] + column * spacing[0])
    offsets = (np.arange(finer) - finer // 2) * gap / finer
    pixels = np.repeat(pixels, finer, axis=0)
    positions = np.concatenate([position + normal * (offsets[:, None] + shift) for position in positions])
    own_grid = mirrored or cropped or shift or finer > 1
    if kind == "LABELMAP":
        pixels = (pixels * np.arange(1, pixels.shape[-1] + 1)).max(-1).astype(np.uint8)
    elif kind == "FRACTIONAL":
        pixels = np.where(pixels, 0.8, 0.3).astype(np.float32)
    else:
        pixels = pixels.astype(np.uint8)
    algorithm = hd.seg.SegmentAlgorithmTypeValues.MANUAL
    seg = hd.seg.Segmentation(
        source_images=sources,
        pixel_array=pixels,
        segmentation_type=kind,
        segment_descriptions=[
            hd.seg.SegmentDescription(number, label, TISSUE, (codes or {}).get(label, TISSUE), algorithm)
            for number, label in enumerate(masks, 1)
        ],
        series_instance_uid=generate_uid(),
        series_number=77,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="Somebody",
        manufacturer_model_name="Workstation",
        software_versions="1",
        device_serial_number="1",
        omit_empty_frames=kind != "LABELMAP",
        **(
            {
                "plane_positions": [
                    hd.PlanePositionSequence(hd.CoordinateSystemNames.PATIENT, position) for position in positions
                ],
                "plane_orientation": hd.PlaneOrientationSequence(
                    hd.CoordinateSystemNames.PATIENT, [*row.tolist(), *column.tolist()]
                ),
                "pixel_measures": hd.PixelMeasuresSequence(spacing, 8.0),
            }
            if own_grid
            else {}
        ),
    )
    seg.save_as(path)
    return path
