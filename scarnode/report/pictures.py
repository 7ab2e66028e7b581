"""The contact sheet: every slice with its contours, the numbers and where they come from, as a Secondary Capture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from highdicom import UID
from highdicom.sc import SCImage
from PIL import Image, ImageDraw
from pydicom.dataset import Dataset

from scarnode import RESEARCH_USE
from scarnode.measure.model import Measurements, SliceMeasurements
from scarnode.report import codes, stamp
from scarnode.report.contours import left_ventricle, outlines
from scarnode.report.fonts import draw_given, draw_name, draw_text, font
from scarnode.report.frame import draw_head, draw_origin, draw_reason
from scarnode.report.model import Provenance
from scarnode.report.style import stacked
from scarnode.segment.model import ModelIdentity, Segmentation, Tissue
from scarnode.stack.model import Component, Stack

WIDTH = 1400
MARGIN = 28
GAP = 8
BACKGROUND, PANEL = (16, 18, 22), (30, 33, 39)
TEXT, MUTED, RULE, WARNING = (240, 240, 240), (165, 170, 178), (70, 75, 84), (255, 176, 64)
SCAR = codes.SEGMENTS[Tissue.SCAR].rgb
EPICARDIUM = codes.SEGMENTS[Tissue.MYOCARDIUM].rgb
ENDOCARDIUM = codes.SEGMENTS[Tissue.BLOOD].rgb
SCAR_LINE = (255, 120, 30)
COMPONENT = {Component.MAGNITUDE: "magnitude", Component.PSIR: "phase-sensitive (PSIR)"}
OVERSAMPLING = 2
MAX_TILE = 440
HEADER_HEIGHT, FOOTER_HEIGHT = 196, 132
FIELD_MARGIN, MIN_FIELD = 18.0, 80.0
"""mm shown around the left ventricle, and the smallest field of view, mm."""


@dataclass(frozen=True)
class _Field:
    """The part of the images that is shown: first pixel and size in pixels (may reach beyond the image)."""

    row: float
    column: float
    rows: float
    columns: float


def build_sc(
    stack: Stack,
    volume: np.ndarray,
    segmentation: Segmentation,
    measurements: Measurements,
    header: Dataset,
    provenance: Provenance,
) -> Dataset:
    """Write the contact sheet as an RGB Secondary Capture in the study of the images.

    Parameters
    ----------
    stack : Stack
    volume : numpy.ndarray
        float32, shape (slices, rows, columns).
    segmentation : Segmentation
    measurements : Measurements
    header : pydicom.Dataset
        From `scarnode.report.source.read_header`.
    provenance : Provenance

    Returns
    -------
    pydicom.Dataset
        Secondary Capture Image Storage, explicit VR little endian, with BurnedInAnnotation YES.
    """
    sheet = draw_sheet(stack, volume, segmentation, measurements, header, provenance)
    return capture(sheet, stack, segmentation.model, header, provenance)


def capture(page: Image.Image, stack: Stack, model: ModelIdentity, header: Dataset, provenance: Provenance) -> Dataset:
    """Write a page as Secondary Capture.

    Parameters
    ----------
    page : PIL.Image.Image
        RGB, of `draw_sheet` or `draw_failure`.
    stack : Stack
    model : ModelIdentity
    header : pydicom.Dataset
        From `scarnode.report.source.read_header`.
    provenance : Provenance

    Returns
    -------
    pydicom.Dataset
        Secondary Capture Image Storage, explicit VR little endian, with BurnedInAnnotation YES.
    """
    dataset = SCImage(
        pixel_array=np.asarray(page),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),
        study_instance_uid=stack.study_instance_uid,
        series_instance_uid=stamp.series_uid(stamp.SC, provenance),
        series_number=stamp.SC.series_number,
        sop_instance_uid=UID(stamp.instance_uid(stamp.SC, provenance)),
        instance_number=1,
        study_date=header.StudyDate or None,
        study_time=header.StudyTime or None,
        specific_character_set="ISO_IR 192",
        **stamp.equipment(model, provenance),
    )
    dataset.PatientOrientation = None  # a page has none; the attribute is type 2C
    dataset.ImageType = ["DERIVED", "SECONDARY", "CONTACT_SHEET"]
    dataset.ConversionType = "WSD"
    dataset.BurnedInAnnotation = "YES"
    dataset.DateOfSecondaryCapture = provenance.made_at.strftime("%Y%m%d")
    dataset.TimeOfSecondaryCapture = provenance.made_at.strftime("%H%M%S.%f")
    return stamp.finish(dataset, stamp.SC, header, stack, model, provenance)


def draw_sheet(
    stack: Stack,
    volume: np.ndarray,
    segmentation: Segmentation,
    measurements: Measurements,
    header: Dataset,
    provenance: Provenance,
) -> Image.Image:
    """Draw the contact sheet.

    Parameters are those of `build_sc`.

    Returns
    -------
    PIL.Image.Image
        RGB, 1400 pixels wide.
    """
    count = len(stack.frames)
    columns = _columns(count)
    rows = math.ceil(count / columns)
    tile = min(MAX_TILE, (WIDTH - 2 * MARGIN - (columns - 1) * GAP) // columns)
    height = HEADER_HEIGHT + rows * (tile + GAP) - GAP + FOOTER_HEIGHT
    sheet = Image.new("RGB", (WIDTH, height), BACKGROUND)
    draw = ImageDraw.Draw(sheet)

    _draw_header(draw, stack, segmentation, measurements, header)
    field = _field_of_view(stack, segmentation)
    window = _window(volume, field)
    left = (WIDTH - columns * tile - (columns - 1) * GAP) // 2
    for index, numbers in enumerate(measurements.slices):
        row, column = divmod(index, columns)
        picture = _draw_tile(volume[index], segmentation.labels[index], field, window, tile)
        _label_tile(picture, numbers, count)
        sheet.paste(picture, (left + column * (tile + GAP), HEADER_HEIGHT + row * (tile + GAP)))
    _draw_footer(draw, height - FOOTER_HEIGHT, stack, segmentation, provenance)
    return sheet


def draw_failure(stack: Stack, header: Dataset, provenance: Provenance, reason: str) -> Image.Image:
    """Draw the page of an analysis that failed: patient, reason, provenance, no numbers.

    Parameters
    ----------
    stack : Stack
    header : pydicom.Dataset
        From `scarnode.report.source.read_header`.
    provenance : Provenance
    reason : str
        What went wrong and what to do; may have several lines.

    Returns
    -------
    PIL.Image.Image
        RGB, 1400 pixels wide.
    """
    return stacked([draw_head(stack, header), draw_reason(reason), draw_origin(stack, None, provenance)], margin=MARGIN)


def _columns(count: int) -> int:
    """Choose the columns of the grid: near 4:3, few empty places."""

    def cost(columns: int) -> float:
        rows = math.ceil(count / columns)
        return 2 * (rows * columns - count) / count + abs(math.log(columns / rows / 1.35))

    return min(range(1, min(count, 8) + 1), key=cost)


def _field_of_view(stack: Stack, segmentation: Segmentation) -> _Field:
    """Choose a square (in mm) around the left ventricle, the same for all slices; the whole image without one."""
    height, width = stack.rows, stack.columns
    dy, dx = stack.pixel_spacing
    seen = np.argwhere((segmentation.labels != Tissue.BACKGROUND).any(axis=0))
    if len(seen) == 0:
        side = max(height * dy, width * dx)
        center = (height / 2, width / 2)
    else:
        first, last = seen.min(axis=0), seen.max(axis=0) + 1
        extent = max((last[0] - first[0]) * dy, (last[1] - first[1]) * dx)
        side = max(MIN_FIELD, extent + 2 * FIELD_MARGIN)
        center = tuple((first + last) / 2)
    return _Field(center[0] - side / dy / 2, center[1] - side / dx / 2, side / dy, side / dx)


def _window(volume: np.ndarray, field: _Field) -> tuple[float, float]:
    """Choose one grey window for all slices from what is shown of them."""
    top, left = max(0, int(field.row)), max(0, int(field.column))
    shown = volume[:, top : int(field.row + field.rows) + 1, left : int(field.column + field.columns) + 1]
    finite = shown[np.isfinite(shown)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(finite, (1.0, 99.3))
    return float(low), float(high if high > low else low + 1.0)


def _draw_tile(
    pixels: np.ndarray, labels: np.ndarray, field: _Field, window: tuple[float, float], tile: int
) -> Image.Image:
    """Draw one slice with its contours, twice as large as needed, then reduce it: smooth lines."""
    low, high = window
    grey = np.nan_to_num(np.clip((pixels - low) / (high - low), 0, 1)) * 255
    size = tile * OVERSAMPLING
    scale = (size / field.columns, size / field.rows)
    picture = _enlarge(grey.astype(np.uint8), field, size, Image.Resampling.BICUBIC).convert("RGB")
    draw = ImageDraw.Draw(picture, "RGBA")

    def points(contour: np.ndarray) -> list[tuple[float, float]]:
        return [((x - field.column) * scale[0], (y - field.row) * scale[1]) for x, y in contour]

    thin = max(2, round(OVERSAMPLING * tile / 220))
    for contour in outlines(left_ventricle(labels)):
        draw.line(points(contour), fill=EPICARDIUM, width=thin, joint="curve")
    for contour in outlines(labels == Tissue.BLOOD):
        draw.line(points(contour), fill=ENDOCARDIUM, width=thin, joint="curve")
    scar = labels == Tissue.SCAR
    if scar.any():
        _shade(picture, scar, field)
        for contour in outlines(scar):
            draw.line(points(contour), fill=SCAR_LINE, width=thin + 1, joint="curve")
    return picture.reduce(OVERSAMPLING)


def _enlarge(pixels: np.ndarray, field: _Field, size: int, resampling: Image.Resampling) -> Image.Image:
    """Resample the field of view of a uint8 image to a square of `size` pixels, black where it reaches beyond."""
    left, top = math.floor(field.column), math.floor(field.row)
    right, bottom = math.ceil(field.column + field.columns), math.ceil(field.row + field.rows)
    cut = Image.fromarray(pixels).crop((left, top, right, bottom))
    x, y = field.column - left, field.row - top
    return cut.resize((size, size), resampling, box=(x, y, x + field.columns, y + field.rows))


def _shade(picture: Image.Image, mask: np.ndarray, field: _Field) -> None:
    """Tint a mask without hiding the image under it."""
    stencil = _enlarge(mask.astype(np.uint8) * 90, field, picture.width, Image.Resampling.NEAREST)
    picture.paste(Image.new("RGB", picture.size, SCAR), mask=stencil)


def _label_tile(picture: Image.Image, numbers: SliceMeasurements, count: int) -> None:
    """Write slice number and its numbers into the tile's corners."""
    draw = ImageDraw.Draw(picture)
    size = max(12, min(18, picture.width // 17))
    end = " base" if numbers.index == 0 else " apex" if numbers.index == count - 1 else ""
    _shadowed(draw, (7, 4), f"{numbers.index + 1}{end if count > 1 else ''}", size, TEXT)
    if numbers.lge_percent is None:
        text, color = "no myocardium", MUTED
    elif numbers.scar_volume == 0:
        text, color = "no scar", MUTED
    else:
        text, color = f"{numbers.scar_volume:.2f} cm³  {numbers.lge_percent:.0f} %", (255, 190, 140)
    _shadowed(draw, (7, picture.height - size - 9), text, size, color)


def _shadowed(draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, color: tuple) -> None:
    draw_text(draw, (at[0] + 1, at[1] + 1), text, size, (0, 0, 0))
    draw_text(draw, at, text, size, color)


def _draw_header(
    draw: ImageDraw.ImageDraw, stack: Stack, segmentation: Segmentation, measurements: Measurements, header: Dataset
) -> None:
    """Draw patient and study on the left, the numbers on the right."""
    draw_text(draw, (MARGIN, 20), "Late gadolinium enhancement: scar of the left ventricle", 17, MUTED)
    draw_name(draw, (MARGIN, 46), str(header.PatientName), 30, TEXT, max_width=560)
    born = f"born {_date(header.PatientBirthDate)}" if header.PatientBirthDate else ""
    identity = [f"ID {header.PatientID}" if header.PatientID else "", born, str(header.PatientSex or "")]
    draw_given(draw, (MARGIN, 92), "   ".join(part for part in identity if part), 18, MUTED, max_width=560)
    study = f"Study {_date(header.StudyDate)}" if header.StudyDate else "Study date not stated"
    depth = _range(stack.slice_extents)
    draw_text(draw, (MARGIN, 118), f"{study}   {COMPONENT[stack.component]} image", 18, MUTED)
    spacing = " x ".join(f"{value:.2f}" for value in stack.pixel_spacing)
    slices = f"{len(stack.frames)} slice" + ("s" if len(stack.frames) > 1 else "")
    draw_text(draw, (MARGIN, 144), f"{slices}, {depth} mm apart, pixels {spacing} mm", 18, MUTED)

    boxes = _headline(measurements, segmentation)
    width = 246
    for index, (title, value, note, color) in enumerate(boxes):
        left = WIDTH - MARGIN - (len(boxes) - index) * (width + 10) + 10
        draw.rounded_rectangle((left, 22, left + width, 170), radius=10, fill=PANEL)
        draw_text(draw, (left + 16, 34), title, 17, MUTED)
        draw_text(draw, (left + 16, 62), value, 40, color)
        draw_text(draw, (left + 16, 130), note, 17, MUTED)


def _headline(measurements: Measurements, segmentation: Segmentation) -> list[tuple[str, str, str, tuple]]:
    """Give title, value, note and colour of the three numbers that matter."""
    if measurements.lge_percent is None:
        nothing = ("not found", "analysis failed", WARNING)
        return [("Scar", *nothing), ("LV myocardium", *nothing), ("%LGE", *nothing)]
    present = measurements.scar_volume > 0
    color = SCAR_LINE if present else TEXT
    likely = "scar / (scar + normal)"
    if segmentation.lge_interval is not None:
        likely = "likely {:.0f} to {:.0f} %".format(*segmentation.lge_interval)
    return [
        ("Scar", f"{measurements.scar_volume:.1f} cm³", "LGE present" if present else "LGE absent", color),
        ("LV myocardium", f"{measurements.myocardium_volume:.0f} cm³", f"{measurements.myocardium_mass:.0f} g", TEXT),
        ("%LGE", f"{measurements.lge_percent:.1f} %", likely, color),
    ]


def _draw_footer(
    draw: ImageDraw.ImageDraw, top: int, stack: Stack, segmentation: Segmentation, provenance: Provenance
) -> None:
    """Draw legend, flags, provenance and intended use."""
    y = top + 14
    x = MARGIN
    for color, text in ((SCAR_LINE, "scar"), (EPICARDIUM, "epicardium"), (ENDOCARDIUM, "endocardium")):
        draw.line((x, y + 11, x + 30, y + 11), fill=color, width=4)
        draw_text(draw, (x + 38, y), text, 17, TEXT)
        x += 58 + int(draw.textlength(text, font=font(17)))
    flags = [*(flag.value for flag in stack.flags), *segmentation.flags]
    flag_text = "Flags: " + (", ".join(flags) if flags else "none")
    draw_given(draw, (x + 20, y), flag_text, 17, WARNING if flags else MUTED, max_width=WIDTH - MARGIN - x - 20)
    draw.line((MARGIN, y + 34, WIDTH - MARGIN, y + 34), fill=RULE, width=1)
    model = segmentation.model
    made = provenance.made_at.strftime("%Y-%m-%d %H:%M")
    draw_text(draw, (MARGIN, y + 44), RESEARCH_USE, 20, WARNING)
    source = f"{model.name} {model.version} (sha256 {model.sha256[:12]})   scarnode {provenance.software_version}"
    draw_given(draw, (MARGIN, y + 76), f"{source}   {made}", 15, MUTED, max_width=WIDTH - 2 * MARGIN)
    rule = "Volume of a voxel = pixel area x centre-to-centre slice distance; mass at 1.05 g/mL"
    length = draw.textlength(rule, font=font(15))
    draw_text(draw, (WIDTH - MARGIN - length, y + 48), rule, 15, MUTED)


def _range(values: np.ndarray) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.1f}" if high - low < 0.05 else f"{low:.1f} to {high:.1f}"


def _date(text: str) -> str:
    """Write a DICOM date as ISO 8601."""
    text = str(text)
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 else text
