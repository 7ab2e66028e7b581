"""Every number and pattern that decides what a late-enhancement short-axis stack is; [recognition] overrides them."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

import numpy as np

from scarnode.pipeline.stack import name_words
from scarnode.pipeline.stack.names import compiled
from scarnode.util.errors import ConfigError

NAMES_OF_OTHERS = {
    "look_locker_names": "LOOK_LOCKER",
    "scout_names": "SCOUT",
    "mapping_names": "MAPPING",
    "cine_names": "CINE",
    "perfusion_names": "PERFUSION",
    "edema_names": "EDEMA",
    "early_names": "EARLY_ENHANCEMENT",
    "dark_blood_names": "DARK_BLOOD",
    "native_names": "BEFORE_CONTRAST",
    "other_names": "OTHER_METHOD",
}
"""Fields of `Rules` whose names speak against late enhancement, in the order they are tried, and the reason each
gives."""


@dataclass(frozen=True)
class Rules:
    """Settings of the recognition. Each field is one key of config.ini's [recognition].

    Attributes
    ----------
    site_accept, site_reject : tuple of str
        Regular expressions searched (ignoring case) in the SeriesDescription as it came. Reject wins. An accepted
        series skips every test of name, contrast and plane, but still has to be an MR image with geometry and pixels.
    lge_names, weak_lge_names, look_locker_names ... other_names, short_axis_names, long_axis_names : tuple of str
        Regular expressions searched in the normalised name (`names.forms`): lower case, without accents, every run of
        other characters than letters and digits replaced by one blank (``de_high-res_tfl_SAX`` -> ``de high res tfl
        sax``); where capitals part words, also in the name so parted.
    harmless_names : tuple of str
        Phrases that are left out of the name first: they name another method without saying that this is one.
    decisive_names : tuple of str
        Where one matches, another method's word refuses also beside a word of late enhancement.
    after_contrast_names : tuple of str
        Beside one of these a word for images before contrast leaves doubt instead of refusing.
    weight_* : int
        Points of one piece of evidence; `accept_score` points accept, `review_score` ask for a person.
    inversion_time_min, inversion_time_max, inversion_time_long : float
        ms. Between the first two lies late enhancement; beyond the third, or below the first, the best is a review.
    max_phases : int
        More images than this at the usual location are no late enhancement.
    max_echo_time, gradient_echo_time : float
        ms.
    short_axis_x, short_axis_y, short_axis_z : float
        Mean normal of short-axis planes in LPS, from apex to base (change it for a site that images dextrocardia).
    plane_accept, plane_limit : float
        Degrees from that normal: up to the first is short axis; up to the second needs a short-axis name or a
        short-axis cine of the study whose plane agrees within `cine_agreement`.
    parallel, split : float
        Degrees: slices of a stack are parallel within the first; beyond the second they are different stacks.
    same_location : float
        mm along the normal.
    orthonormality : float
        Tolerated error of ImageOrientationPatient.
    missing_gap, spacing_tolerance : float
        In slice steps: a gap of at least the first lacks a slice; a deviation of more than the second is unequal
        spacing.
    max_slices : int
    accept_psir_only : bool
        Whether a phase-sensitive stack is analysed where no magnitude came.
    """

    site_accept: tuple[str, ...] = ()
    site_reject: tuple[str, ...] = ()

    lge_names: tuple[str, ...] = name_words.LATE
    weak_lge_names: tuple[str, ...] = name_words.LATE_WEAK
    look_locker_names: tuple[str, ...] = name_words.LOOK_LOCKER
    scout_names: tuple[str, ...] = name_words.SCOUT
    mapping_names: tuple[str, ...] = name_words.MAPPING
    cine_names: tuple[str, ...] = name_words.CINE
    perfusion_names: tuple[str, ...] = name_words.PERFUSION
    edema_names: tuple[str, ...] = name_words.EDEMA
    early_names: tuple[str, ...] = name_words.EARLY
    dark_blood_names: tuple[str, ...] = name_words.DARK_BLOOD
    native_names: tuple[str, ...] = name_words.BEFORE_CONTRAST
    other_names: tuple[str, ...] = name_words.OTHER_METHOD
    harmless_names: tuple[str, ...] = name_words.HARMLESS
    decisive_names: tuple[str, ...] = name_words.DECISIVE
    after_contrast_names: tuple[str, ...] = name_words.AFTER_CONTRAST
    short_axis_names: tuple[str, ...] = name_words.SHORT_AXIS
    long_axis_names: tuple[str, ...] = name_words.LONG_AXIS

    weight_name: int = 4
    weight_weak_name_first: int = 4
    weight_weak_name: int = 2
    weight_inversion: int = 3
    weight_inversion_time: int = 2
    weight_long_inversion_time: int = -3
    weight_contrast_agent: int = 1
    weight_gradient_echo: int = 1
    weight_single_phase: int = 1
    accept_score: int = 6
    review_score: int = 4

    inversion_time_min: float = 150.0
    inversion_time_max: float = 450.0
    inversion_time_long: float = 500.0
    max_phases: int = 3
    max_echo_time: float = 20.0
    gradient_echo_time: float = 6.0

    short_axis_x: float = -0.634
    short_axis_y: float = 0.645
    short_axis_z: float = 0.426
    plane_accept: float = 35.0
    plane_limit: float = 50.0
    cine_agreement: float = 10.0
    parallel: float = 2.0
    split: float = 5.0
    same_location: float = 0.5
    orthonormality: float = 0.01
    missing_gap: float = 1.8
    spacing_tolerance: float = 0.1
    max_slices: int = 40
    accept_psir_only: bool = True

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, tuple):
                _check_patterns(field.name, value)
        if not 0 < np.linalg.norm(self.base) < float("inf"):
            raise ConfigError(
                "the short-axis normal has no direction", "[recognition] short_axis_x, _y, _z", "give a vector"
            )
        _check_order("review_score, accept_score", self.review_score, self.accept_score)
        _check_order("plane_accept, plane_limit", self.plane_accept, self.plane_limit)
        _check_order("parallel, split", self.parallel, self.split)
        _check_order("inversion_time_min, inversion_time_max", self.inversion_time_min, self.inversion_time_max)
        for key in ("max_phases", "max_slices", "same_location", "parallel", "orthonormality", "spacing_tolerance"):
            if not getattr(self, key) > 0:
                raise ConfigError(
                    f"{getattr(self, key)} is not greater than 0", f"[recognition] {key}", "give a positive number"
                )

    @property
    def base(self) -> np.ndarray:
        """Direction from apex to base, LPS, shape (3,); not of unit length."""
        return np.array([self.short_axis_x, self.short_axis_y, self.short_axis_z])


def _check_patterns(key: str, patterns: tuple[str, ...]) -> None:
    for pattern in patterns:
        try:
            everything = all(compiled(pattern).search(probe) for probe in ("", "qqq zzz 000"))
        except re.error as error:
            raise ConfigError(
                f"{pattern!r} is no regular expression: {error}", f"[recognition] {key}", "correct it"
            ) from error
        if everything:
            raise ConfigError(f"{pattern!r} matches every name", f"[recognition] {key}", "remove it, or name something")


def _check_order(keys: str, low: float, high: float) -> None:
    if not low <= high:
        raise ConfigError(f"{low} is not at most {high}", f"[recognition] {keys}", "give the smaller number first")
