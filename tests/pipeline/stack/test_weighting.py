"""T1-mapping sources in a series for each inversion time, and late enhancement that was repeated."""

import pytest

from scarnode.pipeline.stack import Rules, find_stacks
from tests.pipeline.stack.builders import Study, save, slices

S = Study()
UNNAMED = {"description": "tfi2d1_109 3slices", "manufacturer": "SIEMENS"}


def study_of(times, count=3, apart=2.0, **elements):
    """A series for each inversion time; the images of one place lie `apart` seconds apart (None: no times)."""
    datasets = []
    for number, time in enumerate(times):
        series = slices(S, number + 1, count=count, InversionTime=float(time), **{**UNNAMED, **elements})
        for index, ds in enumerate(series):
            if apart is None:
                for keyword in ("AcquisitionTime", "SeriesTime", "StudyTime", "AcquisitionDate"):
                    ds.pop(keyword, None)
            else:
                since = 36000 + 10 * index + number * apart
                ds.AcquisitionTime = f"{int(since // 3600):02d}{int(since // 60 % 60):02d}{since % 60:06.3f}"
        datasets += series
    return datasets


MOLLI = (120, 200, 280, 1120, 1200, 2120, 3120, 4120)


@pytest.mark.parametrize(
    "datasets",
    [
        study_of((180, 260, 1180, 1260, 2180)),
        study_of((180, 260, 1180, 1260, 2180), apart=None),
        study_of((180, 260, 1180, 1260, 2180), ContrastBolusAgent="Gadobutrol"),
        study_of(MOLLI, count=1),
        study_of(MOLLI, count=10, apart=90.0),
        study_of((150, 300, 600), apart=40.0, count=6),
        study_of((220, 250, 280), apart=5.0),
        study_of(range(180, 420, 20), count=1, apart=None),
        study_of((250, 300, 350, 600, 900), description="LGE_test", manufacturer="GE"),
    ],
    ids=[
        "native",
        "without times",
        "after contrast",
        "one slice",
        "a series for each breath-hold",
        "three times, far apart",
        "scout of three slices",
        "scout, without times",
        "named, but five times",
    ],
)
def test_many_inversion_times_across_series(datasets, tmp_path):
    search = find_stacks(save(datasets, tmp_path))
    assert not search.stacks
    assert {verdict.reason for verdict in search.series} == {"MANY_INVERSION_TIMES"}


@pytest.mark.parametrize(
    ("datasets", "count"),
    [
        (study_of((280, 310), count=10, apart=300.0), 2),
        (study_of((280, 310, 330), count=10, apart=300.0), 3),
        (study_of((280, 310, 330), count=3, apart=300.0), 3),
        (study_of((280, 310, 330), count=10, apart=None), 3),
        (study_of((280, 310, 330), count=3, apart=12.0, description="LGE SAX"), 3),
        (study_of((260, 280, 310, 330), count=10, apart=240.0, description="de_sa_MAG"), 4),
        (study_of((280, 310), count=3, apart=2.0), 2),
    ],
    ids=["twice", "three times", "few slices", "no times", "named", "four times, named", "two times, at once"],
)
def test_repeated_late_enhancement_stays(datasets, count, tmp_path):
    assert len(find_stacks(save(datasets, tmp_path)).stacks) == count


def test_a_stack_beside_a_t1_source_stays(tmp_path):
    datasets = study_of((180, 260, 1180, 1260, 2180))
    datasets += slices(S, 20, description="de_sa_MAG", InversionTime=280.0)
    (stack,) = find_stacks(save(datasets, tmp_path)).stacks
    assert stack.series_instance_uids == (S.series(20),)


def test_site_accept_stands_above_it(tmp_path):
    paths = save(study_of((180, 260, 300, 400, 2180)), tmp_path)
    assert find_stacks(paths, Rules(site_accept=("3slices",))).stacks
