"""The report page, read as a person reads it: its words, its colours, and where its outlines lie."""

import dataclasses
import io
import re
import shutil
import subprocess
import time
from datetime import timedelta

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pydicom import dcmread
from pydicom.uid import EncapsulatedPDFStorage
from scipy import ndimage

from scarnode import RESEARCH_USE
from scarnode.pipeline.measure import AhaSegment, Burden, ThresholdMeasurement, Transmurality, measure
from scarnode.pipeline.report import USUAL, build_results
from scarnode.pipeline.report.bullseye import NOT_SHOWN, draw_bullseye, middle_of
from scarnode.pipeline.report.pictures import draw_failure
from scarnode.pipeline.report.source import read_header
from scarnode.pipeline.report.style import MARGIN
from scarnode.pipeline.report.tiles import CAPTION, LEGEND, draw_slices
from scarnode.pipeline.segment.model import Tissue
from scarnode.pipeline.stack.model import Component, Flag
from tests.pipeline.report.sources import MADE_AT, MATRIX, MODEL, Spec, make_case, render_sheet

WORDS_OF_ADVICE = re.compile(r"treat|therap|implant|defibrill|\bICD\b|recommend|should|consider", re.IGNORECASE)


@pytest.fixture
def read(monkeypatch):
    """Call a function that draws and give its page with every text that was set on it."""
    found = []
    plain = ImageDraw.ImageDraw.text

    def text(self, xy, text, *args, **kwargs):
        found.append(text)
        plain(self, xy, text, *args, **kwargs)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)

    def call(function, *arguments):
        found.clear()
        return function(*arguments), list(found)

    return call


def segments(percents):
    """17 segments with these %LGE, None for one that is not in the images."""
    bins = list(Transmurality)

    def transmurality(percent):
        return None if percent is None else bins[0 if percent == 0 else min(4, 1 + int(percent // 25))]

    return tuple(
        AhaSegment(number, 0.0 if percent is None else 8.0, percent, transmurality(percent))
        for number, percent in enumerate(percents, 1)
    )


def filled(case, **changes):
    """The arguments of a case with every number that the page can show."""
    numbers = dataclasses.replace(
        case.measurements,
        **{
            "lge_interval": (7.6, 21.4),
            "burden": Burden.INDETERMINATE,
            "segments": segments([3, 8, 22, 14, 0, 1, 0, 6, 31, 11, 0, 0, 0, 2, 64, 0, None]),
            "by_threshold": (
                ThresholdMeasurement("5 SD", 14.21, 8.44),
                ThresholdMeasurement("6 SD", 11.02, 6.53),
                ThresholdMeasurement("FWHM", 9.23, 5.42),
            ),
            **changes,
        },
    )
    return case.stack, case.volume, case.segmentation, numbers, case.provenance


def find(page, panel):
    """Cut a panel out of the page that it stands on."""
    whole, part = np.asarray(page), np.asarray(panel)
    height, width = part.shape[:2]
    middle = part[height // 2]
    for top in range(whole.shape[0] - height + 1):
        beside = whole[top : top + height, MARGIN : MARGIN + width]
        if np.array_equal(beside[height // 2], middle) and np.array_equal(beside, part):
            return part.astype(int)
    raise AssertionError("the page does not hold this panel")


def luminance(rgb):
    return float(np.dot(rgb, (0.2126, 0.7152, 0.0722)))


def test_the_page_says_what_was_measured(tmp_path, read):
    case = make_case(tmp_path, Spec(slices=9))
    arguments = filled(case)
    page, texts = read(render_sheet, *arguments)
    numbers, words = arguments[3], "\n".join(texts)
    assert (page.mode, page.width) == ("RGB", 1400)
    for text in (
        f"{numbers.scar_volume:.1f} cm",
        f"{numbers.scar_mass:.1f} g",
        f"{numbers.myocardium_volume:.0f} cm",
        f"{numbers.myocardium_mass:.0f} g",
        f"{numbers.lge_percent:.1f} %",
        "likely 8 to 21 %",
        "indeterminate",
        "by the interval",
        "Doe, Jane",
        "ID P1  ·  born 1970-02-03  ·  female",
        "2026-03-01 Cardiac MR",
        "A77",
        "SIEMENS Example",
        "CNN (lge3d)",
        *("5 SD", "14.2", "8.4 %", "6 SD", "11.0", "6.5 %", "FWHM", "9.2", "5.4 %"),
        f"{MODEL.name} {MODEL.version}, weights sha256 {MODEL.sha256[:16]}",
        MODEL.training_data,
        "scarnode 0.1.0, made 2026-03-14 15:09",
        f"9 images, digest {case.provenance.input_digest[:16]}",
        *("anterior", "septal", "inferior", "lateral"),
    ):
        assert text in words, text
    assert texts.count(RESEARCH_USE) == 2
    assert "ynthetic images" not in words
    assert not WORDS_OF_ADVICE.search(words)


def test_every_slice_has_its_numbers(tmp_path, read):
    case = make_case(tmp_path, Spec(slices=6))
    _, texts = read(render_sheet, *filled(case))
    assert "1 base" in texts and "6 apex" in texts
    for item in case.measurements.slices:
        if item.scar_volume:
            assert f"scar {item.scar_volume:.2f} cm" in texts
            assert f"   {item.lge_percent:.0f} %LGE" in texts
        assert f"{item.scar_volume + item.normal_volume:.1f}" in texts
    assert texts.count("no scar") == sum(item.scar_volume == 0 for item in case.measurements.slices)


@pytest.mark.parametrize("burden", Burden)
@pytest.mark.parametrize("interval", [(3.0, 40.0), None])
def test_burden_is_said_in_a_word(tmp_path, read, burden, interval):
    case = make_case(tmp_path, Spec(slices=3))
    _, texts = read(render_sheet, *filled(case, burden=burden, lge_interval=interval))
    assert [word for word in texts if word in set(Burden)] == [burden]
    assert ("by the interval" in texts) == (interval is not None)
    assert ("no interval" in texts) == (interval is None)


def test_flags_are_told_in_plain_words(tmp_path, read):
    case = make_case(tmp_path, Spec(slices=3, flags=tuple(Flag)))
    known = ("AREA_JUMP", "CENTER_JUMP", "OPEN_RING", "BAD_NULLING", "UNSURE_MYOCARDIUM", "UNSURE_SCAR")
    segmentation = dataclasses.replace(case.segmentation, flags=(*known, "A_FLAG_OF_TOMORROW"))
    stack, volume, _, numbers, provenance = filled(case)
    _, texts = read(render_sheet, stack, volume, segmentation, numbers, provenance)
    words = " ".join(texts)
    for flag in (*(flag.value for flag in Flag), *known):
        assert re.search(rf"[a-z0-9]\. \({flag}\)", words), flag
    assert "A_FLAG_OF_TOMORROW" in texts
    assert "None was raised" not in words


def test_no_flag_is_said_too(tmp_path, read):
    _, texts = read(render_sheet, *filled(make_case(tmp_path, Spec(slices=3))))
    assert any(text.startswith("None was raised") for text in texts)


@pytest.mark.parametrize("keyword", ["StudyDescription", "InstitutionName"])
def test_synthetic_sources_are_called_synthetic(tmp_path, read, keyword):
    case = make_case(tmp_path, Spec(slices=3, header={keyword: "Synthetic site 3"}))
    _, texts = read(render_sheet, *filled(case))
    assert "Synthetic images: not a patient" in texts


def test_a_revision_says_so(tmp_path, read):
    case = make_case(tmp_path, Spec(slices=3))
    *arguments, provenance = filled(case)
    revised = dataclasses.replace(provenance, predecessor=("1.2.3.4", "1.2.3"))
    _, texts = read(render_sheet, *arguments, revised)
    assert "replaces an earlier result of this study" in texts


def test_no_scar(tmp_path, read):
    case = make_case(tmp_path, Spec(slices=5, scar=False))
    _, texts = read(render_sheet, *filled(case, segments=segments([0] * 17)))
    assert "0.0 cm" in texts and any("LGE absent" in text for text in texts)
    assert texts.count("no scar") == 5


def test_no_heart_gives_no_numbers(tmp_path, read):
    case = make_case(tmp_path, Spec(slices=5, heart=False))
    page, texts = read(render_sheet, *case.arguments)
    assert texts.count("not measured") == 4
    assert texts.count("no myocardium") == 5
    assert "No myocardium was found. (NO_MYOCARDIUM)" in texts
    assert not any(re.search(r"\d\.\d+ (cm|g$|%)", text) for text in texts)
    assert not set(Burden) & set(texts)
    assert page.width == 1400


@pytest.mark.parametrize("count", [1, 2, 4, 13, 40])
def test_any_number_of_slices(tmp_path, read, count):
    case = make_case(tmp_path, Spec(slices=count, rows=48, columns=40, pixel_spacing=(2.0, 2.0)))
    page, texts = read(render_sheet, *filled(case))
    assert page.width == 1400
    ends = {1: "1", 2: "2 apex"}.get(count, f"{count} apex")
    assert ends in texts
    captions = [text for text in texts if text == "no scar" or re.fullmatch(r"scar \d+\.\d\d cm", text)]
    assert len(captions) == count


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("Japanese", ["Yamada, Tarou", "山田 太郎", "やまだ たろう"]),
        ("Chinese", ["Wang, XiaoDong", "王 小东"]),
        ("Arabic", ["قباني لنزار"]),
        ("Latin-1", ["Müller-Ångström, Jörg É Dr Jr"]),
        ("empty type 2", ["(no patient name)"]),
    ],
)
def test_names_as_the_source_carries_them(tmp_path, read, label, shown):
    """A group is either drawn in full, or (no such font on this machine) left out in favour of one that can be."""
    case = make_case(tmp_path, MATRIX[label])
    _, texts = read(render_sheet, *filled(case))
    drawn = [text for text in texts if text in shown]
    assert drawn or "(name in a script that no installed font has)" in texts
    assert drawn == [text for text in shown if text in drawn]


def test_a_long_name_stays_in_its_place(tmp_path, read):
    name = "Wolfeschlegelsteinhausenbergerdorff^Maximiliane=" + "W" * 60 + "=" + "M" * 60
    short = make_case(tmp_path / "a", Spec(slices=3))
    long = make_case(tmp_path / "b", Spec(slices=3, header={"PatientName": name}))
    _, texts = read(render_sheet, *filled(long))
    assert any(text.startswith("Wolfeschlegel") for text in texts)
    pages = [np.asarray(render_sheet(*filled(case))) for case in (short, long)]
    changed = np.argwhere((pages[0] != pages[1]).any(axis=-1))
    changed = changed[changed[:, 0] < 150]  # further down stand the digests
    assert changed[:, 1].max() < MARGIN + 740 + 30


def test_the_segment_with_most_scar_is_the_darkest(tmp_path):
    case = make_case(tmp_path, Spec(slices=3))
    percents = [3, 8, 22, 14, 0, 1, 0.4, 6, 31, 11, 0, 5, 0, 2, 64, 90, None]
    arguments = filled(case, segments=segments(percents))
    disc = find(render_sheet(*arguments), draw_bullseye(arguments[3].segments, ""))
    colors = {number: _color_of(disc, number) for number in range(1, 18)}
    assert colors[17] == NOT_SHOWN
    seen = [(percent, luminance(colors[number])) for number, percent in enumerate(percents[:16], 1)]
    for a, light_a in seen:
        for b, light_b in seen:
            if a < b:
                assert light_a > light_b
            if a == b:
                assert light_a == light_b


def test_segments_stand_where_the_aha_puts_them():
    """Anterior wall above, septum on the left, numbered against the clock; base outside."""
    places = {number: np.subtract(middle_of(number), middle_of(17)) for number in range(1, 18)}
    for basal, mid in zip(range(1, 7), range(7, 13), strict=True):
        assert np.hypot(*places[basal]) > np.hypot(*places[mid])
        assert np.allclose(*(places[number] / np.hypot(*places[number]) for number in (basal, mid)), atol=0.02)
    for number, (x, y) in {1: (0, -1), 4: (0, 1), 13: (0, -1), 14: (-1, 0), 15: (0, 1), 16: (1, 0)}.items():
        direction = places[number] / np.hypot(*places[number])
        assert np.allclose(direction, (x, y), atol=0.02)
    assert places[2][0] < 0 > places[2][1] and places[3][0] < 0 < places[3][1]  # anteroseptal, inferoseptal
    assert places[6][0] > 0 > places[6][1] and places[5][0] > 0 < places[5][1]  # anterolateral, inferolateral


@pytest.mark.parametrize(
    ("direction", "reason"),
    [(None, "direction of the right ventricle not seen"), (1.0, "these slices do not tell the segments")],
)
def test_unknown_segments_are_grey_with_the_reason(tmp_path, read, direction, reason):
    case = make_case(tmp_path, Spec(slices=3))
    stack, volume, segmentation, numbers, provenance = filled(case, segments=())
    segmentation = dataclasses.replace(segmentation, right_ventricle=direction)
    page, texts = read(render_sheet, stack, volume, segmentation, numbers, provenance)
    assert reason in texts
    disc = find(page, draw_bullseye((), reason))
    assert {_color_of(disc, number) for number in (1, 4, 5, 10, 13)} == {NOT_SHOWN}


def _color_of(disc, number):
    """The commonest colour around the middle of a segment: its text is of another."""
    x, y = middle_of(number)
    colors, counts = np.unique(disc[y - 22 : y + 22, x - 22 : x + 22].reshape(-1, 3), axis=0, return_counts=True)
    return tuple(int(value) for value in colors[counts.argmax()])


@pytest.mark.parametrize("spacing", [(1.5, 1.5), (1.2, 1.9)])
def test_scar_is_outlined_where_the_image_has_it(tmp_path, spacing):
    """An image that is bright in the scar alone: the outline encloses what the copy beside it shows bright."""
    case = make_case(tmp_path, Spec(slices=1, pixel_spacing=spacing))
    volume = (case.segmentation.labels == Tissue.SCAR).astype(np.float32)
    plain, outlined = _pair(case, volume)
    assert (plain == plain[..., :1]).all()  # the unmarked copy is grey: nothing hides the signal
    bright = plain[..., 0] > 127
    orange = (outlined[..., 0] - outlined[..., 2] > 110) & (outlined[..., 0] - outlined[..., 1] > 70)
    enclosed = ndimage.binary_fill_holes(orange)
    assert bright.sum() > 500
    assert (bright & enclosed).sum() / (bright | enclosed).sum() > 0.8
    assert orange[bright].mean() < 0.5  # the line is thin: most of the scar shows in the outlined copy too


@pytest.mark.parametrize("tissue", ["wall", "blood"])
def test_epicardium_and_endocardium_lie_on_their_borders(tmp_path, tissue):
    case = make_case(tmp_path, Spec(slices=1, scar=False))
    labels = case.segmentation.labels
    inside = labels != Tissue.BACKGROUND if tissue == "wall" else labels == Tissue.BLOOD
    plain, outlined = _pair(case, inside.astype(np.float32))
    red, green, blue = np.moveaxis(outlined, -1, 0)
    line = (red - blue > 90) & (green - blue > 80) if tissue == "wall" else (blue - red > 60) & (blue > green)
    bright = plain[..., 0] > 127
    border = bright & ~ndimage.binary_erosion(bright)
    assert ndimage.distance_transform_edt(~border)[line].max() < 5  # nowhere else than on the border
    assert ndimage.distance_transform_edt(~line)[border].max() < 10  # and all along it, in dashes or whole


def _pair(case, volume):
    """The two copies of a single slice, cut out of the page."""
    numbers = measure(case.stack, volume, case.segmentation)
    page = render_sheet(case.stack, volume, case.segmentation, numbers, case.provenance)
    panel = find(page, draw_slices(case.stack, volume, case.segmentation, numbers))
    images = panel[LEGEND + CAPTION :]
    tile = images.shape[0]
    return images[:, :tile], images[:, tile + 2 : 2 * tile + 2]


def test_one_grey_window_for_all_slices(tmp_path):
    """The same signal is the same grey in every slice."""
    case = make_case(tmp_path, Spec(slices=2, scar=False))
    volume = np.full(case.volume.shape, 100.0, np.float32)
    volume[0, case.segmentation.labels[0] == Tissue.BLOOD] = 400.0
    volume[1, case.segmentation.labels[1] == Tissue.BLOOD] = 250.0
    panel = np.asarray(draw_slices(case.stack, volume, case.segmentation, case.measurements)).astype(int)
    images = panel[LEGEND + CAPTION :]
    tile = images.shape[0]
    first, second = images[:, :tile], images[:, 2 * tile + 14 : 3 * tile + 14]
    assert first.max() > 250
    assert second.max() == pytest.approx(127, abs=20)


def test_failure_page_says_why_and_gives_no_numbers(tmp_path, read):
    case = make_case(tmp_path, Spec(slices=3))
    reason = "IM0003.dcm: the pixel data can not be decoded\nSend the study again."
    header = read_header(case.stack)
    page, texts = read(draw_failure, case.stack, header, case.provenance, reason)
    assert page.width == 1400
    assert [line for line in texts if line in reason] == reason.splitlines()
    assert "Analysis failed: nothing was measured" in texts
    assert "Doe, Jane" in texts and texts.count(RESEARCH_USE) == 2
    assert not any(re.search(r"\bcm|%|LGE", text) for text in texts)
    _, texts = read(draw_failure, case.stack, header, case.provenance, "word " * 300 + "x" * 500)
    assert sum(len(text) for text in texts if set(text) == {"x"}) == 500  # a long reason is broken, not cut


def test_pdf_only_where_it_is_asked_for(tmp_path):
    case = make_case(tmp_path, Spec(slices=3))
    assert build_results(*case.arguments).pdf is None
    assert [kind for kind, _ in build_results(*case.arguments, kinds=(*USUAL, "pdf")).items()] == [*USUAL, "pdf"]


def test_pdf_holds_the_page(tmp_path):
    case = make_case(tmp_path, Spec(slices=4, component=Component.PSIR))
    results = build_results(*filled(case), kinds=("pdf",))
    written = io.BytesIO()
    results.pdf.save_as(written, enforce_file_format=True)
    dataset = dcmread(io.BytesIO(written.getvalue()))
    assert dataset.SOPClassUID == EncapsulatedPDFStorage
    assert dataset.MIMETypeOfEncapsulatedDocument == "application/pdf"
    assert (dataset.BurnedInAnnotation, dataset.Modality) == ("YES", "DOC")
    assert RESEARCH_USE in dataset.DocumentTitle
    assert dataset.SeriesDescription == "scarnode LGE PDF (PSIR)"
    assert str(dataset.PatientName) == "Doe^Jane"
    assert dataset.StudyInstanceUID == case.stack.study_instance_uid
    sources = [item.ReferencedSOPInstanceUID for item in dataset.SourceInstanceSequence]
    assert sources == [frame.sop_instance_uid for frame in case.stack.frames]
    pdf = dataset.EncapsulatedDocument[: dataset.EncapsulatedDocumentLength]
    assert pdf.startswith(b"%PDF-") and pdf.endswith(b"%%EOF")
    page = np.asarray(Image.open(io.BytesIO(pdf[pdf.index(b"\xff\xd8") :]))).astype(int)
    assert np.abs(page - results.sc.pixel_array).mean() < 2  # JPEG
    width, height = (float(value) for value in re.search(rb"/MediaBox \[ 0 0 (\S+) (\S+) \]", pdf).groups())
    assert width <= 595.4 and height <= 842  # A4
    assert width / height == pytest.approx(page.shape[1] / page.shape[0], rel=1e-3)


def test_same_input_same_pdf(tmp_path):
    case = make_case(tmp_path, Spec(slices=3))
    first, second = (build_results(*filled(case), kinds=("pdf",)).pdf for _ in range(2))
    assert first == second
    *arguments, provenance = filled(case)
    later = dataclasses.replace(provenance, made_at=MADE_AT + timedelta(days=1))
    third = build_results(*arguments, later, kinds=("pdf",)).pdf
    assert b"20260314150926" in first.EncapsulatedDocument
    assert b"20260315150926" in third.EncapsulatedDocument
    assert b"20260314150926" not in third.EncapsulatedDocument


@pytest.mark.parametrize(
    "label", ["one series", "enhanced mixed", "Japanese", "absent type 2", "over-long", "no heart"]
)
def test_dciodvfy_finds_no_error_in_the_pdf(tmp_path, label):
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed")
    case = make_case(tmp_path, MATRIX[label])
    results = build_results(*case.arguments, kinds=("pdf",))
    results.pdf.save_as(tmp_path / "pdf.dcm", enforce_file_format=True)
    done = subprocess.run(["dciodvfy", "pdf.dcm"], cwd=tmp_path, capture_output=True, check=False)
    lines = done.stderr.decode(errors="replace").splitlines()
    assert "EncapsulatedPDF" in lines
    known = ["UI Device UID", "this is a Standard Extended SOP Class", "needed to build DICOMDIR"]
    if label == "over-long":  # numbers stay as the images have them
        known += ["Length invalid for this VR", "invalid data values for Value Representations"]
    assert [line for line in lines if line != "EncapsulatedPDF" and not any(text in line for text in known)] == []


@pytest.mark.bench
def test_the_page_of_twelve_slices_takes_a_third_of_a_second(tmp_path):
    """12 slices of 256 x 256, processor time: its share of the second that all objects together may take."""
    case = make_case(tmp_path, Spec(slices=12, rows=256, columns=256, pixel_spacing=(1.4, 1.4)))
    arguments = filled(case)
    render_sheet(*arguments)  # imports
    spent = []
    for _ in range(5):
        before = time.process_time()
        render_sheet(*arguments)
        spent.append(time.process_time() - before)
    print(f"page: {sorted(spent)[2]:.2f} s of processor time (median of 5)")
    assert sorted(spent)[2] < 0.35
