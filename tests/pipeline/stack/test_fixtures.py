"""The series that vendors send: twelve that are short-axis late enhancement, twelve that are not."""

import pytest
from pydicom.uid import MRImageStorage, SecondaryCaptureImageStorage

from scarnode.pipeline.stack import Component, Flag, Verdict, find_stacks
from tests.pipeline.stack.builders import (
    AXIAL,
    FOUR_CHAMBER,
    TWO_CHAMBER,
    Study,
    enhanced,
    orthonormal,
    positions,
    put,
    save,
    slices,
)

S = Study()
GRE = {"ScanningSequence": "GR", "EchoTime": 1.4}


def one_series_per_slice(description, **elements):
    return [
        ds
        for number, place in enumerate(positions(10), start=1)
        for ds in slices(S, series=number, description=description, at=[place], **elements)
    ]


def repeated(times, **elements):
    """`times` images at each of the given locations, one after the other."""
    at = elements.pop("at", positions(elements.pop("count", 3)))
    return slices(S, at=[place for place in at for _ in range(times)], **elements)


ACCEPTED = {
    "1 Siemens magnitude": (lambda: slices(InversionTime=300.0), 10, Component.MAGNITUDE, set()),
    "2 Siemens PSIR": (
        lambda: slices(description="de_overview_tfi_psir_sa_PSIR", InversionTime=300.0),
        10,
        Component.PSIR,
        {Flag.PSIR_ONLY},
    ),
    "3 Siemens, a series a slice": (
        lambda: one_series_per_slice("de_high-res_tfl_fs_sax", InversionTime=280.0),
        10,
        Component.MAGNITUDE,
        set(),
    ),
    "4 Siemens MOCO": (
        lambda: slices(
            description="de_overview_tfi_psir_sa_MAG_MOCO",
            ImageType=["DERIVED", "PRIMARY", "M", "MOCO"],
            InversionTime=300.0,
        ),
        10,
        Component.MAGNITUDE,
        {Flag.MOCO_ONLY},
    ),
    "5 Siemens Enhanced": (
        lambda: [enhanced(description="LGE_PSIR_SAX_MAG", manufacturer="Siemens Healthineers")],
        10,
        Component.MAGNITUDE,
        set(),
    ),
    "6 GE PSMDE magnitude": (
        lambda: slices(
            description="MAG:SAX PSMDE",
            manufacturer="GE MEDICAL SYSTEMS",
            count=9,
            InversionTime=290.0,
            ImageType=["ORIGINAL", "PRIMARY", "OTHER"],
            defaults=GRE,
            GE_COMPONENT=0,
        ),
        9,
        Component.MAGNITUDE,
        set(),
    ),
    "7 GE 2D": (
        lambda: slices(
            description="SAX 2D MDE",
            manufacturer="GE MEDICAL SYSTEMS",
            InversionTime=250.0,
            ImageType=["ORIGINAL", "PRIMARY", "OTHER"],
        ),
        10,
        Component.MAGNITUDE,
        set(),
    ),
    "8 GE 3D, overlapping": (
        lambda: slices(
            description="3D MDE sax 3mm",
            manufacturer="GE MEDICAL SYSTEMS",
            count=36,
            thickness=3.0,
            spacing=1.5,
            MRAcquisitionType="3D",
            ImageType=["ORIGINAL", "PRIMARY", "OTHER"],
            InversionTime=250.0,
        ),
        36,
        Component.MAGNITUDE,
        set(),
    ),
    "9 Philips, two components in one series": (
        lambda: slices(
            description="PSIR_TFE 8slices",
            manufacturer="Philips Medical Systems",
            at=[place for place in positions(8) for _ in range(2)],
            ImageType=lambda i: ["ORIGINAL", "PRIMARY", *(("M_IR", "M", "IR"), ("CR_IR", "CR", "IR"))[i % 2]],
            defaults=GRE,
        ),
        8,
        Component.MAGNITUDE,
        set(),
    ),
    "10 Philips Enhanced": (lambda: [enhanced()], 10, Component.MAGNITUDE, set()),
    "11 Canon, a series a slice": (
        lambda: one_series_per_slice(
            "Delayed enh SA", manufacturer="CANON_MEC", ImageType=["ORIGINAL", "PRIMARY"], defaults=GRE
        ),
        10,
        Component.MAGNITUDE,
        set(),
    ),
    "12 Siemens without any word of enhancement": (
        lambda: slices(description="tfl13_2d_t1_seg_fs_c_sa", InversionTime=300.0, ContrastBolusAgent="Gd"),
        10,
        Component.MAGNITUDE,
        set(),
    ),
}

REJECTED = {
    "1 cine": (lambda: repeated(25, count=3, description="cine_tf2d12_retro_iPAT_sa", defaults=GRE), "CINE"),
    "2 Look-Locker": (
        lambda: repeated(20, count=1, description="SA LL", InversionTime=lambda i: 80.0 + 25 * i),
        "LOOK_LOCKER",
    ),
    "3 MOLLI": (
        lambda: repeated(
            7, description="MOLLI_192_sax", InversionTime=lambda i: (100, 180, 260, 900, 1000, 1800, 2700)[i % 7]
        ),
        "MAPPING",
    ),
    "4 T1 map": (
        lambda: slices(
            description="LGE T1 sax", count=3, ImageType=["DERIVED", "PRIMARY", "T1 MAP", "MOCO"], InversionTime=300.0
        ),
        "PARAMETRIC_MAP",
    ),
    "5 perfusion": (lambda: repeated(40, count=2, description="TFL_dynamic_perf_sax", defaults=GRE), "PERFUSION"),
    "6 four-chamber": (
        lambda: slices(
            description="de_tfl_psir_MAG", orientation=orthonormal(FOUR_CHAMBER), count=3, InversionTime=300.0
        ),
        "NOT_SHORT_AXIS",
    ),
    "7 two-chamber": (
        lambda: slices(description="de_tfl_PSIR", orientation=orthonormal(TWO_CHAMBER), count=3, InversionTime=300.0),
        "NOT_SHORT_AXIS",
    ),
    "8 spin echo": (
        lambda: slices(
            description="tse sax", ScanningSequence=["SE", "IR"], InversionTime=170.0, EchoTime=60.0, defaults={}
        ),
        "SPIN_ECHO",
    ),
    "9 axial left atrium": (
        lambda: slices(description="3D LA LGE", orientation=AXIAL, count=60, spacing=2.0, InversionTime=280.0),
        "NOT_SHORT_AXIS",
    ),
    "10 dark blood": (lambda: slices(description="LGE dark-blood sax", InversionTime=120.0), "DARK_BLOOD"),
    "11 early enhancement": (lambda: slices(description="EGE sax", InversionTime=450.0), "EARLY_ENHANCEMENT"),
    "12 secondary capture": (lambda: captures("LGE SAX"), "SOP_CLASS"),
}


def captures(description):
    found = slices(description=description, InversionTime=300.0)
    for ds in found:
        ds.SOPClassUID = SecondaryCaptureImageStorage
    return found


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepts(name, tmp_path):
    make, count, component, flags = ACCEPTED[name]
    search = find_stacks(save(make(), tmp_path))
    (stack,) = search.stacks
    assert len(stack.frames) == count
    assert stack.component is component
    assert set(stack.flags) == flags
    assert [v.reason for v in search.series if v.verdict is Verdict.ACCEPTED] == ["LGE_SHORT_AXIS"] * len(
        stack.series_instance_uids
    )
    # base to apex, one slice distance everywhere
    gaps = [b - a for a, b in zip(stack.slice_extents, stack.slice_extents[1:], strict=False)]
    assert max(map(abs, gaps), default=0) < 1e-3


@pytest.mark.parametrize("name", REJECTED)
def test_rejects(name, tmp_path):
    make, reason = REJECTED[name]
    search = find_stacks(save(make(), tmp_path))
    assert search.stacks == ()
    assert {v.verdict for v in search.series} == {Verdict.REJECTED}
    assert {v.reason for v in search.series} == {reason}
    assert all(v.detail for v in search.series)


NAMELESS = {
    "1 cine": (None, "MANY_PHASES"),
    "2 Look-Locker": ("SA", "MANY_INVERSION_TIMES"),
    "3 MOLLI": ("SA", "MANY_INVERSION_TIMES"),
    "5 perfusion": ("dyn sax", "MANY_PHASES"),
    "10 dark blood": ("LGE sax", "INVERSION_TIME"),
}


@pytest.mark.parametrize("name", NAMELESS)
def test_recognises_them_without_their_names(name, tmp_path):
    make, _ = REJECTED[name]
    description, reason = NAMELESS[name]
    datasets = make()
    for ds in datasets:
        put(ds, "SeriesDescription", description)
    search = find_stacks(save(datasets, tmp_path))
    assert search.stacks == ()
    assert {v.reason for v in search.series} == {reason}


@pytest.mark.slow
def test_one_study_with_everything(tmp_path):
    """All twenty-four series in one study: only late enhancement comes out, and every series has its verdict."""
    datasets, number = [], 0
    for make in [row[0] for row in ACCEPTED.values()] + [row[0] for row in REJECTED.values()]:
        series = {}
        for index, ds in enumerate(make()):
            if ds.SeriesInstanceUID not in series:
                number += 1
                series[ds.SeriesInstanceUID] = number
            own = series[ds.SeriesInstanceUID]
            ds.SeriesInstanceUID, ds.SOPInstanceUID = S.series(own), S.instance(own, index)
            ds.AcquisitionTime = f"{100000 + own}"
            for group in ds.get("PerFrameFunctionalGroupsSequence", []):
                group.FrameContentSequence[0].FrameAcquisitionDateTime = f"20240305{100000 + own}"
            datasets.append(ds)
    search = find_stacks(save(datasets, tmp_path))
    assert {v.series_instance_uid for v in search.series} == {S.series(n) for n in range(1, number + 1)}
    told = {v.reason for v in search.series if v.verdict is not Verdict.ACCEPTED}
    assert told >= {reason for _, reason in REJECTED.values()} | {"PSIR_TWIN", "MOCO_TWIN"}
    assert all(stack.component is Component.MAGNITUDE for stack in search.stacks)
    assert len(search.stacks) == 10  # the twelve, without the phase-sensitive and the motion-corrected twin


def test_mr_image_of_another_modality_is_refused(tmp_path):
    datasets = slices(InversionTime=300.0)
    for ds in datasets:
        assert ds.SOPClassUID == MRImageStorage
        ds.Modality = "OT"
    search = find_stacks(save(datasets, tmp_path))
    assert [v.reason for v in search.series] == ["NOT_MR"]
