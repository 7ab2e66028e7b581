"""Header and footer of every page: patient and study, intended use, and provenance."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw
from pydicom.dataset import Dataset

from scarnode import RESEARCH_USE
from scarnode.pipeline.report.fonts import draw_given, draw_name, draw_text, wrap
from scarnode.pipeline.report.model import Provenance
from scarnode.pipeline.report.style import BACKGROUND, INNER, LINE, MUTED, PANEL, SYNTHETIC, TEXT, WARNING
from scarnode.pipeline.segment.model import ModelIdentity
from scarnode.pipeline.stack.model import Component, Stack

COMPONENT = {Component.MAGNITUDE: "magnitude", Component.PSIR: "PSIR"}
_LEFT, _RIGHT = 740, INNER - 760


def is_synthetic(header: Dataset) -> bool:
    """Return whether the source is marked as synthetic, in StudyDescription or InstitutionName."""
    said = (str(header.get(keyword, "")) for keyword in ("StudyDescription", "InstitutionName"))
    return any("synthetic" in text.lower() for text in said)


def draw_header(stack: Stack, header: Dataset) -> Image.Image:
    """Draw patient and study, and under them the intended use.

    Parameters
    ----------
    stack : Stack
    header : pydicom.Dataset
        From `scarnode.pipeline.report.source.read_header`.

    Returns
    -------
    PIL.Image.Image
        RGB, `INNER` pixels wide.
    """
    panel = Image.new("RGB", (INNER, 184), BACKGROUND)
    draw = ImageDraw.Draw(panel)
    draw_text(draw, (0, 0), "Late gadolinium enhancement: scar of the left ventricle", 19, MUTED)
    name = str(header.get("PatientName", "") or "")
    draw_name(draw, (0, 30), name or "(no patient name)", 36, TEXT if name else MUTED, max_width=_LEFT)
    patient = [f"ID {header.PatientID or 'not stated'}", f"born {_date(header.PatientBirthDate) or 'not stated'}"]
    if header.PatientSex:
        patient.append({"M": "male", "F": "female", "O": "sex: other"}[header.PatientSex])
    draw_given(draw, (0, 86), "  ·  ".join(patient), 20, TEXT, max_width=_LEFT)

    study = " ".join(part for part in (_date(header.StudyDate), str(header.get("StudyDescription", ""))) if part)
    maker = " ".join(str(header.get(keyword, "")) for keyword in ("Manufacturer", "ManufacturerModelName")).strip()
    rows = [
        ("Study", study or "date not stated"),
        ("Site", str(header.get("InstitutionName", "")) or "not stated"),
        ("Accession", str(header.AccessionNumber or "") or "not stated"),
        ("Scanner", maker or "not stated"),
        ("Images", _images(stack)),
    ]
    for index, (title, text) in enumerate(rows):
        y = index * 25
        draw_text(draw, (INNER - _RIGHT, y), title, 17, MUTED)
        draw_given(draw, (INNER - _RIGHT + 96, y), text, 17, TEXT, max_width=_RIGHT - 96)

    draw.rounded_rectangle((0, 138, INNER - 1, 180), radius=6, fill=(52, 38, 14), outline=WARNING)
    draw_text(draw, (16, 146), RESEARCH_USE, 22, WARNING)
    if is_synthetic(header):
        draw_text(draw, (INNER - 16, 146), "Synthetic images: not a patient", 22, SYNTHETIC, align="right")
    return panel


def draw_provenance(stack: Stack, model: ModelIdentity | None, provenance: Provenance) -> Image.Image:
    """Draw the provenance of the result: model, source images, time.

    Parameters
    ----------
    stack : Stack
    model : ModelIdentity or None
        None where no network took part.
    provenance : Provenance

    Returns
    -------
    PIL.Image.Image
        RGB, `INNER` pixels wide.
    """
    made = provenance.made_at.strftime("%Y-%m-%d %H:%M")
    zone = provenance.made_at.strftime("%z")
    software = f"scarnode {provenance.software_version}, made {made}{' UTC' if zone == '+0000' else ' ' + zone}"
    rows = []
    if provenance.correction is not None and model is not None:
        person = provenance.correction.creator.replace("^", " ").strip() or "not named in it"
        hand = "drawn by hand" if provenance.correction.by_hand else "a network's outlines changed by hand"
        rows.append(("Outlines", f"by a person, {hand}: SEG {provenance.correction.sop_instance_uid}"))
        rows.append(("Person", person))
        rows.append(("Corrected", f"{model.name} {model.version}, weights sha256 {model.sha256[:16]}"))
    elif model is not None:
        rows.append(("Model", f"{model.name} {model.version}, weights sha256 {model.sha256[:16]}"))
        rows.append(("Trained on", model.training_data or "not stated"))
    rows.append(("Software", software.strip()))
    rows.append(("Input", f"{_count(len(stack.frames), 'image')}, digest {provenance.input_digest[:16]}"))
    if stack.left_empty:
        rows.append(("Left empty", f"{', '.join(stack.left_empty)}: not valid in the images, or not readable"))
    if provenance.predecessor is not None:
        rows.append(("Revision", "replaces an earlier result of this study"))
    if model is not None:
        rows.append(
            (
                "Numbers",
                "volume of a voxel = pixel area x centre-to-centre slice distance; mass at 1.05 g/mL; "
                "%LGE = scar / (scar + normal myocardium) by volume",
            )
        )
    lines = [
        (title if first else "", line)
        for title, text in rows
        for first, line in zip([True, False, False], wrap(text, 16, INNER - 110)[:3], strict=False)
    ]
    panel = Image.new("RGB", (INNER, 14 + 24 * len(lines) + 40), BACKGROUND)
    draw = ImageDraw.Draw(panel)
    draw.line((0, 2, INNER, 2), fill=LINE)
    for index, (title, line) in enumerate(lines):
        draw_text(draw, (0, 14 + 24 * index), title, 16, MUTED)
        draw_given(draw, (108, 14 + 24 * index), line, 16, TEXT, max_width=INNER - 108)
    draw_text(draw, (0, panel.height - 30), RESEARCH_USE, 20, WARNING)
    return panel


def draw_reason(reason: str) -> Image.Image:
    """Draw why there are no numbers.

    Parameters
    ----------
    reason : str

    Returns
    -------
    PIL.Image.Image
        RGB, `INNER` pixels wide.
    """
    lines = [line for part in reason.splitlines() for line in wrap(part, 22, INNER - 48)] or ["no reason was given"]
    panel = Image.new("RGB", (INNER, 160 + 32 * len(lines)), PANEL)
    draw = ImageDraw.Draw(panel)
    draw.rectangle((0, 0, 7, panel.height), fill=WARNING)
    draw_text(draw, (24, 22), "Analysis failed: nothing was measured", 36, WARNING)
    for index, line in enumerate(lines):
        draw_given(draw, (24, 84 + 32 * index), line, 22, TEXT, max_width=INNER - 48)
    nothing = "This page says nothing about scar: neither that there is some, nor that there is none."
    draw_text(draw, (24, panel.height - 46), nothing, 18, MUTED)
    return panel


def _images(stack: Stack) -> str:
    count = _count(len(stack.frames), "slice")
    depth = f"{_range(stack.slice_extents)} mm " + ("apart" if len(stack.frames) > 1 else "deep")
    pixels = " x ".join(f"{value:.2f}" for value in stack.pixel_spacing)
    return f"{count}, {depth}, {pixels} mm pixels, {COMPONENT[stack.component]}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _range(values: np.ndarray) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.1f}" if high - low < 0.05 else f"{low:.1f} to {high:.1f}"


def _date(text: object) -> str:
    """Write a DICOM date as ISO 8601."""
    text = str(text or "")
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 else text
