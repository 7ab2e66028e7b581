"""The 17 segments on hearts that are built in the patient's own axes, so that the truth knows nothing of the image."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scarnode.phantom import PhantomSettings, make_phantom
from scarnode.phantom.dicom import write_dicom
from scarnode.pipeline.measure import Transmurality, measure
from scarnode.pipeline.segment.model import ModelIdentity, Segmentation, Tissue
from scarnode.pipeline.stack import find_stacks
from scarnode.pipeline.stack.model import Component, SourceFrame, Stack

MODEL = ModelIdentity("m", "1", "0" * 64, "")
INNER, OUTER = 18.0, 28.0  # mm

# Of the bull's-eye as it is printed (Cerqueira 2002, figure 4): degrees anticlockwise from 3 o'clock, anterior on top.
PRINTED = {1: (60, 120), 2: (120, 180), 3: (180, 240), 4: (240, 300), 5: (300, 360), 6: (0, 60)}
PRINTED |= {number + 6: limits for number, limits in PRINTED.items()}
PRINTED |= {13: (45, 135), 14: (135, 225), 15: (225, 315), 16: (315, 405), 17: (0, 360)}
LEVEL_OF = {number: 0 if number < 7 else 1 if number < 13 else 2 if number < 17 else 3 for number in PRINTED}


def unit(vector):
    return np.asarray(vector) / np.linalg.norm(vector)


APEXWARD = unit((0.634, -0.645, -0.426))  # left, front, feet
ANTERIOR = np.array((0, -1, 1)) - APEXWARD * (APEXWARD @ (0, -1, 1))  # front and head, square to the axis
ANTERIOR = unit(ANTERIOR)
SEPTAL = unit(np.cross(ANTERIOR, APEXWARD))
SEPTAL = SEPTAL if SEPTAL[0] < 0 else -SEPTAL  # to the patient's right


@dataclasses.dataclass(frozen=True)
class Heart:
    """Rings on a grid of any orientation. `cap`: slices without cavity; `turn`: of the heart around its axis."""

    depths: tuple[float, ...] = tuple(10.0 * k for k in range(9))
    spacing: tuple[float, float] = (1.0, 1.0)
    shape: tuple[int, int] = (84, 84)
    grid: float = 0.3  # radian by which the grid is turned in its plane
    mirrored: bool = False
    turn: float = 0.0
    cap: int = 1
    seed: int = 0

    @property
    def axes(self):
        """Directions along a row and along a column of the image."""
        row = np.cos(self.grid) * SEPTAL + np.sin(self.grid) * ANTERIOR
        column = -np.sin(self.grid) * SEPTAL + np.cos(self.grid) * ANTERIOR
        return row, -column if self.mirrored else column

    @property
    def stack(self):
        frames = tuple(
            SourceFrame(Path("x"), "1.2", f"1.{k}", "1.3", 1, tuple(np.array((10.0, -20.0, 30.0)) + d * APEXWARD))
            for k, d in enumerate(self.depths)
        )
        orientation = tuple(np.concatenate(self.axes))
        return Stack("1", "2", Component.MAGNITUDE, "", *self.shape, self.spacing, orientation, 8.0, None, frames)

    @property
    def polar(self):
        """Radius, mm, and printed angle, degrees 0 to 360, of every pixel, (slices, rows, columns)."""
        row, column = self.axes
        right = np.cos(self.turn) * SEPTAL + np.sin(self.turn) * ANTERIOR
        up = -np.sin(self.turn) * SEPTAL + np.cos(self.turn) * ANTERIOR
        shift = np.random.default_rng(self.seed).uniform(-4, 4, (2, len(self.depths), 1, 1))  # breathing
        down, across = (
            (index - (n - 1) / 2) * size + by
            for index, n, size, by in zip(np.indices(self.shape), self.shape, self.spacing, shift, strict=True)
        )
        place = across[..., None] * row + down[..., None] * column
        angle = np.degrees(np.arctan2(place @ up, -(place @ right))) % 360  # the septum is printed on the left
        return np.linalg.norm(place, axis=-1), angle

    @property
    def right_ventricle(self):
        row, column = self.axes
        right = np.cos(self.turn) * SEPTAL + np.sin(self.turn) * ANTERIOR
        return float(np.arctan2(right @ column, right @ row))

    @property
    def levels(self):
        """0 basal, 1 mid, 2 apical, 3 cap, by depth."""
        depth = np.array(self.depths)
        gaps = np.diff(depth)
        top = depth[0] - gaps[0] / 2
        held = len(depth) - self.cap
        bottom = depth[held - 1] + gaps[min(held - 1, len(gaps) - 1)] / 2
        levels = np.searchsorted([top + (bottom - top) / 3, top + 2 * (bottom - top) / 3], depth, side="right")
        levels[held:] = 3
        return levels

    def labels(self, *scars, depth=(0.0, 1.0)):
        """Wall with the segments `scars` scarred, from and to the given share of its thickness."""
        radius, angle = self.polar
        levels = self.levels[:, None, None]
        labels = np.where(radius < OUTER, Tissue.MYOCARDIUM, Tissue.BACKGROUND).astype(np.uint8)
        labels[(radius < INNER) & (levels < 3)] = Tissue.BLOOD
        start, stop = (INNER + share * (OUTER - INNER) for share in depth)
        layer = (labels == Tissue.MYOCARDIUM) & (((radius >= start) & (radius < stop)) | (levels == 3))
        for number in scars:
            low, high = PRINTED[number]
            labels[layer & (levels == LEVEL_OF[number]) & ((angle - low) % 360 < high - low)] = Tissue.SCAR
        return labels

    def measure(self, labels, right_ventricle=None):
        direction = self.right_ventricle if right_ventricle is None else right_ventricle
        outlined = Segmentation(labels, None, MODEL, right_ventricle=direction)
        return measure(self.stack, np.zeros(labels.shape, np.float32), outlined)


def check_scar_is_where_it_was_put(heart, number, tolerance):
    found = heart.measure(heart.labels(number)).segments
    assert [segment.number for segment in found] == list(range(1, 18))
    for segment in found:
        if segment.lge_percent is None:
            assert segment.volume == 0
            assert segment.transmurality is None
            assert LEVEL_OF[segment.number] not in heart.levels
        elif segment.number == number:
            assert segment.lge_percent > 100 - tolerance
            assert segment.transmurality is (Transmurality.TO_100 if number < 17 else None)
        else:
            assert segment.lge_percent < tolerance, (segment, number)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("number", range(1, 18))
def test_scar_in_each_segment_in_turn(number, mirrored):
    check_scar_is_where_it_was_put(Heart(mirrored=mirrored), number, 4)


@settings(max_examples=60, deadline=None)
@given(
    number=st.integers(1, 17),
    grid=st.floats(-np.pi, np.pi),
    turn=st.floats(-1.0, 1.0),
    mirrored=st.booleans(),
    gaps=st.lists(st.floats(4, 16), min_size=5, max_size=14),
    spacing=st.tuples(st.floats(0.8, 1.8), st.floats(0.8, 1.8)),
    seed=st.integers(0, 99),
)
def test_scar_in_any_segment_of_any_stack(number, grid, turn, mirrored, gaps, spacing, seed):
    """Turned grids and hearts, mirrored grids, unequal gaps, pixels that are not square, breathing."""
    depths = tuple(np.concatenate([[0.0], np.cumsum(gaps)]))
    shape = tuple(int(np.ceil(68 / size)) for size in spacing)
    heart = Heart(depths, spacing, shape, grid, mirrored, turn, 1, seed)
    if LEVEL_OF[number] in heart.levels:
        check_scar_is_where_it_was_put(heart, number, 8)


@pytest.mark.parametrize(("count", "distance"), [(3, 20.0), (40, 2.0)])
@pytest.mark.parametrize("number", [2, 10, 16])
def test_few_and_many_slices(count, distance, number):
    heart = Heart(tuple(distance * k for k in range(count)), cap=0)
    check_scar_is_where_it_was_put(heart, number, 4)
    assert heart.measure(heart.labels()).segments[16].volume == 0


def test_thirds_are_of_the_depth_in_millimetres_and_volumes_take_the_gaps():
    """Slices at 0, 4, 8, 12, 20, 40, 60 mm: outer borders -2 and 70 mm, thirds end at 22 and 46 mm."""
    heart = Heart((0.0, 4.0, 8.0, 12.0, 20.0, 40.0, 60.0), cap=0)
    found = heart.measure(heart.labels()).segments
    ring = np.pi * (OUTER**2 - INNER**2) / 1000
    basal, mid, apical = 4 + 4 + 4 + 6 + 14, 20, 20
    assert [segment.volume for segment in found[:6]] == pytest.approx([ring * basal / 6] * 6, rel=0.02)
    assert [segment.volume for segment in found[6:12]] == pytest.approx([ring * mid / 6] * 6, rel=0.02)
    assert [segment.volume for segment in found[12:16]] == pytest.approx([ring * apical / 4] * 4, rel=0.02)


def test_all_slices_beyond_the_cavity_are_the_apex_and_none_before():
    heart = Heart(cap=2)
    labels = heart.labels(17)
    found = heart.measure(labels).segments
    assert found[16].volume == pytest.approx(np.pi * OUTER**2 * 20 / 1000, rel=0.02)
    assert found[16].lge_percent == 100
    assert found[16].transmurality is None
    labels[-1, 40:42, 40:42] = Tissue.BLOOD  # the cavity goes on: no cap
    shown = heart.measure(labels).segments
    assert shown[16].volume == 0
    assert all(segment.lge_percent > 50 for segment in shown[12:16])
    labels = heart.labels()
    labels[4][labels[4] == Tissue.BLOOD] = Tissue.MYOCARDIUM  # a closed cavity in the middle is no apex
    assert heart.measure(labels).segments[16].volume == found[16].volume


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.7, 1.6)])
@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        ((0.0, 0.18), Transmurality.TO_25),
        ((0.0, 0.4), Transmurality.TO_50),
        ((0.35, 0.75), Transmurality.TO_50),
        ((0.3, 0.9), Transmurality.TO_75),
        ((0.0, 1.0), Transmurality.TO_100),
    ],
)
def test_transmurality_is_the_share_of_the_wall_wherever_in_it(depth, expected, spacing):
    heart = Heart(spacing=spacing, shape=tuple(int(np.ceil(68 / size)) for size in spacing))
    found = heart.measure(heart.labels(3, 11, 14, depth=depth)).segments
    for segment in found[:16]:
        if segment.number in (3, 11, 14):
            assert segment.transmurality is expected
        elif segment.lge_percent == 0:
            assert segment.transmurality is Transmurality.NONE


def test_transmurality_does_not_shrink_with_the_scars_width():
    """A through-and-through scar of ten degrees: a ninth of the segment's chords, each wholly scar."""
    heart = Heart()
    _, angle = heart.polar
    labels = heart.labels()
    labels[4][(labels[4] == Tissue.MYOCARDIUM) & (np.abs(angle[4] - 90) < 5)] = Tissue.SCAR
    anterior = heart.measure(labels).segments[6]
    assert anterior.lge_percent < 10
    assert anterior.transmurality is Transmurality.TO_100


def test_transmurality_weighs_slices_by_their_depth():
    """Scar through the wall in 4 mm of the anterior segment, through a fifth of it in 14 mm: 38 % of it, not 60 %."""
    heart = Heart((0.0, 4.0, 8.0, 12.0, 20.0, 40.0, 60.0), cap=0)
    labels = heart.labels()
    labels[0] = heart.labels(1)[0]
    labels[4] = heart.labels(1, depth=(0.4, 0.6))[4]
    assert heart.measure(labels).segments[0].transmurality is Transmurality.TO_50


def test_nothing_is_named_that_is_not_known():
    heart = Heart()
    labels = heart.labels(3)
    no_direction = Segmentation(labels, None, MODEL)
    assert measure(heart.stack, np.zeros(labels.shape), no_direction).segments == ()
    assert heart.measure(np.zeros_like(labels)).segments == ()
    assert heart.measure(np.where(labels == Tissue.BLOOD, 0, labels).astype(np.uint8)).segments == ()  # no cavity
    two = labels.copy()
    two[2:] = Tissue.BACKGROUND
    assert heart.measure(two).segments == ()


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_direction_that_does_not_fit_the_patient_names_nothing(mirrored):
    heart = Heart(mirrored=mirrored)
    labels = heart.labels(3)
    for off in np.radians([-170, -100, 100, 180]):
        assert heart.measure(labels, heart.right_ventricle + off).segments == ()
    for off in np.radians([-60, 0, 60]):
        assert heart.measure(labels, heart.right_ventricle + off).segments != ()


def test_a_mirrored_heart_names_nothing():
    """Situs inversus: septum on the left, apex on the right. The published segments have no mirrored form."""
    heart = Heart()
    flip = np.array((-1, 1, 1))
    frames = tuple(dataclasses.replace(f, position=tuple(flip * f.position)) for f in heart.stack.frames)
    orientation = tuple(np.tile(flip, 2) * heart.stack.orientation)
    stack = dataclasses.replace(heart.stack, frames=frames, orientation=orientation)
    outlined = Segmentation(heart.labels(2), None, MODEL, right_ventricle=heart.right_ventricle)
    assert measure(stack, np.zeros(outlined.labels.shape), outlined).segments == ()


def turned_grid(stack, labels, direction, mirror_columns, mirror_rows, swap):
    """The same places on a mirrored and transposed grid."""
    row, column = np.array(stack.orientation[:3]), np.array(stack.orientation[3:])
    corner = np.zeros(3)
    right, down = np.cos(direction), np.sin(direction)
    if mirror_columns:
        corner, row, right = corner + row * (stack.columns - 1) * stack.pixel_spacing[1], -row, -right
        labels = labels[:, :, ::-1]
    if mirror_rows:
        corner, column, down = corner + column * (stack.rows - 1) * stack.pixel_spacing[0], -column, -down
        labels = labels[:, ::-1]
    spacing = stack.pixel_spacing
    if swap:
        row, column, right, down = column, row, down, right
        labels, spacing = labels.transpose(0, 2, 1), spacing[::-1]
    frames = tuple(dataclasses.replace(f, position=tuple(np.array(f.position) + corner)) for f in stack.frames)
    stack = dataclasses.replace(
        stack, frames=frames, orientation=(*row, *column), pixel_spacing=spacing, rows=labels.shape[1],
        columns=labels.shape[2],
    )  # fmt: skip
    return stack, labels, float(np.arctan2(down, right))


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        np.uint8, st.tuples(st.integers(3, 6), st.integers(4, 9), st.integers(4, 9)), elements=st.integers(0, 3)
    ),
    st.floats(-1.2, 1.2),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_any_labels_give_the_same_segments_on_every_grid(labels, turn, how):
    """And their volumes and scar add up to the whole wall's."""
    heart = Heart(tuple(8.0 * k for k in range(len(labels))), (1.3, 1.9), labels.shape[1:], 0.0, False, turn)
    stack, other, direction = turned_grid(heart.stack, labels, heart.right_ventricle, *how)
    first = heart.measure(labels)
    second = measure(
        stack, np.zeros(other.shape), Segmentation(np.ascontiguousarray(other), None, MODEL, right_ventricle=direction)
    )
    assert len(first.segments) == len(second.segments)
    for one, two in zip(first.segments, second.segments, strict=True):
        assert two.volume == pytest.approx(one.volume)
        assert two.lge_percent == pytest.approx(one.lge_percent)
        assert (one.transmurality is None) == (one.volume == 0 or one.number == 17)
        if one.transmurality is not None:
            assert (one.transmurality is Transmurality.NONE) == (one.lge_percent == 0)
    if first.segments:
        assert sum(segment.volume for segment in first.segments) == pytest.approx(first.myocardium_volume)
        scar = sum(segment.volume * (segment.lge_percent or 0) / 100 for segment in first.segments)
        assert scar == pytest.approx(first.scar_volume)


@pytest.mark.parametrize("mirror_columns", [False, True])
@pytest.mark.parametrize("swap", [False, True])
def test_voxels_on_a_border_take_the_same_side_on_every_grid(mirror_columns, swap):
    """The border 2 | 3 runs through the corners of the voxels' grid, where an angle's last digit would decide."""
    radius = np.hypot(*(np.indices((61, 61)) - 30))
    ring = np.where(radius < 28, Tissue.MYOCARDIUM, Tissue.BACKGROUND).astype(np.uint8)
    ring[radius < 18] = Tissue.BLOOD
    heart = Heart((0.0, 8.0, 16.0), (1.5, 1.5), ring.shape, 0.0, False, np.pi / 4)
    labels = np.stack([ring] * 3)
    stack, other, direction = turned_grid(heart.stack, labels, heart.right_ventricle, mirror_columns, False, swap)
    for off in (-2e-15, 0, 2e-15):
        found = Segmentation(np.ascontiguousarray(other), None, MODEL, right_ventricle=direction + off)
        volumes = [segment.volume for segment in measure(stack, np.zeros(other.shape), found).segments]
        assert volumes == pytest.approx([segment.volume for segment in heart.measure(labels).segments])


@pytest.mark.parametrize("seed", [1, 4, 7])
def test_a_phantom_read_from_dicom(tmp_path, seed):
    """Scar over the anterior insertion, then over the inferior one, then opposite the septum, at all levels.

    The phantom's insertions lie 50 to 70 degrees from the septum's middle: beside the borders 2 | 1 and 3 | 4.
    """
    phantom = make_phantom(seed, PhantomSettings(slices=10, matrix=(128, 128), pixel_spacing=2.0, corruption=False))
    write_dicom(phantom, tmp_path)
    stack, *_ = find_stacks(sorted(tmp_path.rglob("*.dcm"))).stacks
    middle = np.mean(phantom.insertion_angles)
    right, left = (np.argwhere(mask).mean(axis=0)[1:] for mask in (phantom.right_ventricle, phantom.label > 0))
    direction = float(np.arctan2(*(right - left)))

    def scarred(around):
        """Parts of the scar volume in each segment, with scar within 15 degrees of an angle on the image."""
        labels = phantom.label.copy()
        for label in labels:
            label[label == Tissue.SCAR] = Tissue.MYOCARDIUM
            if not (label == Tissue.BLOOD).any():
                continue
            down, across = np.indices(label.shape) - np.argwhere(label == Tissue.BLOOD).mean(axis=0)[:, None, None]
            apart = np.abs((np.arctan2(down, across) - around + np.pi) % (2 * np.pi) - np.pi)
            label[(label == Tissue.MYOCARDIUM) & (apart < np.radians(15))] = Tissue.SCAR
        found = measure(stack, phantom.image, Segmentation(labels, None, MODEL, right_ventricle=direction))
        return {s.number: s.volume * (s.lge_percent or 0) / 100 / found.scar_volume for s in found.segments}

    anterior, inferior = (scarred(angle) for angle in phantom.insertion_angles)
    assert sum(anterior[n] for n in (1, 2, 7, 8, 13, 14)) > 0.97
    assert sum(inferior[n] for n in (3, 4, 9, 10, 14, 15)) > 0.97
    opposite = scarred(middle + np.pi)
    assert sum(opposite[n] for n in (5, 6, 11, 12, 16)) > 0.97


def test_measuring_needs_no_torch():
    """The page of a correction, or a look at old numbers, must not wait for the network's library."""
    script = "import sys, scarnode.pipeline.measure; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
