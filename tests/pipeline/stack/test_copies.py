"""Copies of images: drawn into, reformatted, derived, lossy; and the images that scanners call DERIVED with right."""

import numpy as np
import pytest
from pydicom.uid import JPEGBaseline8Bit, JPEGLSNearLossless

from scarnode.pipeline.stack import Component, Flag, Rules, find_stacks, read_volume
from tests.pipeline.stack.builders import Study, enhanced, image, positions, save, slices

S = Study()
LGE = {"description": "LGE SAX", "manufacturer": "GE MEDICAL SYSTEMS", "InversionTime": 280.0}
DERIVED = ["DERIVED", "SECONDARY", "OTHER"]
ORIGINAL = ["ORIGINAL", "PRIMARY", "OTHER"]


def reasons(search):
    return {verdict.series_instance_uid: verdict.reason for verdict in search.series}


def copies(series=2, first_number=1, **elements):
    """Other pixels, later, with an ImageType that says no more than that they were derived."""
    given = {"ImageType": DERIVED, "AcquisitionTime": "160000", **LGE, **elements}
    return slices(S, series, pixels=lambda k: image(50 + k), first_number=first_number, **given)


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"BurnedInAnnotation": "YES"}, "BURNED_IN"),
        ({"BurnedInAnnotation": "YES", "ImageType": ORIGINAL}, "BURNED_IN"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "SCREEN_SAVE"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN_SAVE"]}, "SCREEN_SAVE"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREENSHOT"]}, "SCREEN_SAVE"),
        ({"ImageType": ["DERIVED", "PRIMARY", "SCREEN CAPTURE"]}, "SCREEN_SAVE"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "OTHER", "ANNOTATED"]}, "SCREEN_SAVE"),
        ({"ImageType": ["DERIVED", "SECONDARY", "MPR"]}, "REFORMATTED"),
        ({"ImageType": ["DERIVED", "SECONDARY", "MPR", "CSA MPR", "", "CSAPARALLEL"]}, "REFORMATTED"),
        ({"ImageType": ["DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"]}, "REFORMATTED"),
        ({"ImageType": ["DERIVED", "SECONDARY", "PROJECTION IMAGE", "M", "FFE"]}, "REFORMATTED"),
        ({"ImageType": ["DERIVED", "PRIMARY", "MAX_IP", "NONE"]}, "REFORMATTED"),
        ({"ImageType": ["DERIVED", "SECONDARY", "MIP"]}, "REFORMATTED"),
    ],
)
@pytest.mark.parametrize("with_originals", ["alone", "beside", "in one series"])
def test_refused(elements, reason, with_originals, tmp_path):
    own = 1 if with_originals == "in one series" else 2
    datasets = copies(own, first_number=30, **elements)
    if with_originals != "alone":
        datasets += slices(S, 1, **LGE)
    search = find_stacks(save(datasets, tmp_path))
    assert (S.series(own), reason) in [(v.series_instance_uid, v.reason) for v in search.series]
    if with_originals == "alone":
        assert not search.stacks
    else:
        (stack,) = search.stacks
        assert stack.flags == ()
        np.testing.assert_array_equal(read_volume(stack), [image(k) for k in range(10)])


def test_a_site_may_take_reformats_but_no_drawings(tmp_path):
    rules = Rules(site_accept=("SAX",))
    reformats = save(copies(ImageType=["DERIVED", "SECONDARY", "MPR"]), tmp_path / "mpr")
    assert len(find_stacks(reformats, rules).stacks) == 1
    drawn = save(copies(BurnedInAnnotation="YES"), tmp_path / "drawn")
    assert not find_stacks(drawn, rules).stacks


@pytest.mark.parametrize("series", [1, 2], ids=["one series", "two series"])
@pytest.mark.parametrize(
    ("of_original", "of_copy"),
    [
        ({"ImageType": ORIGINAL}, {"ImageType": DERIVED}),
        ({"ImageType": ORIGINAL}, {"ImageType": ["ORIGINAL", "SECONDARY", "OTHER"]}),
        ({"ImageType": ORIGINAL}, {"ImageType": ORIGINAL, "LossyImageCompression": "01"}),
        ({"ImageType": DERIVED}, {"ImageType": DERIVED, "LossyImageCompression": "01"}),
        ({}, {"ImageType": DERIVED, "LossyImageCompression": "01", "SeriesDescription": "LGE SAX contours"}),
        ({"ImageType": ORIGINAL}, {"ImageType": DERIVED, "PixelSpacing": [0.7, 0.7]}),
        ({"ImageType": ORIGINAL}, {"ImageType": DERIVED, "InversionTime": None}),
    ],
    ids=["derived", "secondary", "lossy", "both derived, one lossy", "renamed", "zoomed", "bare"],
)
def test_second_to_the_original(of_original, of_copy, series, tmp_path):
    """Whatever comes later or has the higher UID."""
    for seed, folder in (("a", "a"), ("b", "b"), ("c", "c")):
        study = Study(seed)
        given = {"AcquisitionTime": "160000", **LGE, **of_copy}
        datasets = slices(study, 1, **{**LGE, **of_original})
        datasets += slices(study, series, pixels=lambda k: image(50 + k), first_number=30, **given)
        search = find_stacks(save(datasets, tmp_path / folder))
        (stack,) = search.stacks
        assert stack.flags == ()
        np.testing.assert_array_equal(read_volume(stack), [image(k) for k in range(10)])
        if series == 2:
            assert reasons(search)[study.series(2)] == "DERIVED_COPY"


@pytest.mark.parametrize("name", ["LGE SAX PSIR contours", "PSIR export", "LGE mag export"])
@pytest.mark.parametrize("original", ["de_sa_MAG", "de_sa_PSIR"])
def test_a_copy_under_another_name_is_no_second_result(name, original, tmp_path):
    datasets = slices(S, 1, description=original, InversionTime=280.0)
    datasets += copies(SeriesDescription=name, Manufacturer="cvi42")
    search = find_stacks(save(datasets, tmp_path))
    (stack,) = search.stacks
    assert stack.series_instance_uids == (S.series(1),)
    assert reasons(search)[S.series(2)] in ("DERIVED_COPY", "PSIR_TWIN")


@pytest.mark.parametrize("series", [1, 2])
def test_a_place_of_which_only_a_drawn_copy_came_is_a_missing_slice(series, tmp_path):
    drawn = copies(series, first_number=30, BurnedInAnnotation="YES")
    (stack,) = find_stacks(save(slices(S, 1, **LGE)[:-1] + drawn, tmp_path)).stacks
    assert len(stack.frames) == 9
    assert stack.flags == (Flag.MISSING_SLICE,)


def test_single_copies_of_some_slices(tmp_path):
    key_images = slices(S, 2, at=[positions(10)[4]], ImageType=DERIVED, pixels=lambda k: image(77), **LGE)
    search = find_stacks(save(slices(S, 1, **LGE) + key_images, tmp_path))
    (stack,) = search.stacks
    assert stack.flags == ()
    assert reasons(search)[S.series(2)] == "DERIVED_COPY"
    np.testing.assert_array_equal(read_volume(stack)[4], image(4))


def test_a_copy_fills_the_place_of_an_original_that_did_not_come(tmp_path):
    originals = slices(S, 1, **LGE)
    lossy = copies(1, first_number=30, LossyImageCompression="01")
    (stack,) = find_stacks(save(originals[:4] + originals[5:] + lossy[4:5], tmp_path)).stacks
    assert len(stack.frames) == 10
    assert stack.flags == (Flag.LOSSY,)


def test_most_of_the_originals_missing_beside_a_whole_copy(tmp_path):
    """One ventricle, one result: the whole one."""
    search = find_stacks(save(slices(S, 1, **LGE)[:4] + copies(2), tmp_path))
    (stack,) = search.stacks
    assert len(stack.frames) == 10
    assert reasons(search)[S.series(1)] == "INCOMPLETE_TWIN"


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGLSNearLossless], ids=lambda uid: uid.keyword)
def test_lossy_by_its_transfer_syntax(syntax, tmp_path):
    paths = save(slices(S, 1, **LGE), tmp_path)
    for path in paths[:3]:
        whole = path.read_bytes()
        # Only the header is read here: the syntax in the meta group, the pixels as one fragment a frame.
        from pydicom import dcmread
        from pydicom.encaps import encapsulate

        ds = dcmread(path)
        ds.PixelData = encapsulate([whole[:100]])
        ds["PixelData"].is_undefined_length = True
        ds.file_meta.TransferSyntaxUID = syntax
        ds.save_as(path)
    (stack,) = find_stacks(paths).stacks
    assert stack.flags == (Flag.LOSSY,)


# --- what scanners call derived --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("elements", "component"),
    [
        (
            {"manufacturer": "SIEMENS", "description": "tfi_psir_sax_PSIR", "ImageType": ["DERIVED", "PRIMARY", "P"]},
            Component.PSIR,
        ),
        (
            {
                "manufacturer": "SIEMENS",
                "description": "de_psir_sa_PSIR",
                "ImageType": ["DERIVED", "SECONDARY", "R", "PSIR", "NORM", "DIS2D"],
            },
            Component.PSIR,
        ),
        (
            {
                "manufacturer": "Philips",
                "description": "PSIR_TFE_SA",
                "ImageType": ["DERIVED", "PRIMARY", "CR_IR", "CR"],
            },
            Component.PSIR,
        ),
        (
            {"description": "LGE SAX MOCO", "ImageType": ["DERIVED", "SECONDARY", "M", "MOCO", "RESAMPLED"]},
            Component.MAGNITUDE,
        ),
        ({"description": "LGE SAX", "ImageType": DERIVED}, Component.MAGNITUDE),
    ],
)
def test_derived_alone_is_taken(elements, component, tmp_path):
    (stack,) = find_stacks(save(slices(S, 1, **{**LGE, **elements}), tmp_path)).stacks
    assert stack.component is component
    assert len(stack.frames) == 10


def test_a_phase_sensitive_twin_marked_derived_keeps_its_reason(tmp_path):
    magnitude = slices(S, 1, description="de_sa_MAG", InversionTime=280.0)
    psir = slices(S, 2, description="de_sa_PSIR", ImageType=["DERIVED", "PRIMARY", "P"], InversionTime=280.0)
    search = find_stacks(save(magnitude + psir, tmp_path))
    assert reasons(search) == {S.series(1): "LGE_SHORT_AXIS", S.series(2): "PSIR_TWIN"}


def test_a_later_acquisition_at_another_inversion_time_is_no_copy(tmp_path):
    datasets = slices(S, 1, **{**LGE, "ImageType": ORIGINAL})
    datasets += slices(S, 2, **{**LGE, "ImageType": DERIVED, "InversionTime": 310.0})
    assert len(find_stacks(save(datasets, tmp_path)).stacks) == 2


def test_enhanced_frames_say_it_too(tmp_path):
    ds = enhanced(frame_types=(("DERIVED", "SECONDARY", "MPR", "NONE"),))
    assert [v.reason for v in find_stacks(save(ds, tmp_path)).series] == ["REFORMATTED"]
