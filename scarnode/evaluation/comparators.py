"""Scar by intensity inside a given myocardium: the semi-automatic methods that networks are compared with.

Those that clinics use (n SD, FWHM) are in `scarnode.pipeline.segment.thresholds`, because the node reports them too;
here are
Otsu's threshold, a mixture, and all of them by name. Each needs a good contour: run it inside the expert's and inside
the network's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from skimage.filters import threshold_otsu

from scarnode.pipeline.segment.thresholds import Method, Wall, above_remote, full_width_half_maximum


def otsu(wall: Wall) -> np.ndarray:
    """Brighter than Otsu's threshold of the whole stack's wall (N. Otsu, IEEE Trans SMC 1979;9:62).

    Always finds two classes: in a heart without scar it calls the brighter part of the noise. Where most of the remote
    myocardium is in the brighter class, the darker class is no myocardium, and there is no scar.
    """
    values = wall.image[wall.wall]
    if np.ptp(values) == 0:
        return np.zeros(wall.wall.shape, bool)
    return _unless_remote(wall, wall.wall & (wall.image > threshold_otsu(values)))


def mixture(wall: Wall) -> np.ndarray:
    """More likely of the brighter of two components that are fitted to the whole stack's wall.

    The brighter is Gaussian (scar); the darker is Rayleigh (nulled magnitude myocardium) or Gaussian (anything else),
    whichever fits better by BIC. Where one component alone fits better still, or most of the remote myocardium is in
    the brighter one, there is no scar. Fitted by expectation-maximisation from Otsu's threshold. Sources: Hennemuth et
    al., IEEE TMI 2008;27:1592 (Rayleigh and Gaussian); Dempster et al., J R Stat Soc B 1977;39:1; G. Schwarz, Ann Stat
    1978;6:461.
    """
    values = wall.image[wall.wall]
    scar = np.zeros(wall.wall.shape, bool)
    if len(values) < 20 or np.ptp(values) == 0:
        return scar
    darker = [_gaussian, *([_rayleigh] if values.min() >= 0 else [])]
    single = min(_bic(kind(values, np.ones(len(values)))(values), kind, 0) for kind in darker)
    fits = [_fit_two(values, kind) for kind in darker]
    best = min(fits, key=lambda fit: fit.bic)
    if best.bic < single:
        scar[wall.wall] = (best.bright > best.dark) & (values > best.dark_mean)
    return _unless_remote(wall, scar)


METHODS: dict[str, Method] = {
    **{f"{n} SD": partial(above_remote, deviations=n) for n in (2, 3, 4, 5, 6)},
    "FWHM": partial(full_width_half_maximum, above_baseline=False),
    "FWHM above remote": partial(full_width_half_maximum, above_baseline=True),
    "Otsu": otsu,
    "mixture": mixture,
}
"""All comparators by their names in the report."""


def _unless_remote(wall: Wall, scar: np.ndarray) -> np.ndarray:
    """No scar where most of the remote myocardium would be scar."""
    return scar if 2 * (scar & wall.remote).sum() <= wall.remote.sum() else np.zeros_like(scar)


Density = Callable[[np.ndarray], np.ndarray]


def _gaussian(values: np.ndarray, weights: np.ndarray) -> Density:
    """Log density of the Gaussian that fits weighted values."""
    mean = np.average(values, weights=weights)
    variance = max(np.average((values - mean) ** 2, weights=weights), 1e-6 * np.ptp(values) ** 2)
    return lambda v: -((v - mean) ** 2) / (2 * variance) - 0.5 * np.log(2 * np.pi * variance)


def _rayleigh(values: np.ndarray, weights: np.ndarray) -> Density:
    """Log density of the Rayleigh distribution that fits weighted values, none of which is negative."""
    square = max(np.average(values**2, weights=weights) / 2, 1e-6 * np.ptp(values) ** 2)
    smallest = 1e-6 * np.ptp(values)  # the density of zero is zero
    return lambda v: np.log(np.maximum(v, smallest) / square) - v**2 / (2 * square)


@dataclass(frozen=True)
class _Fit:
    """Log densities (with their shares) of two components at the values, the darker one's mean, Schwarz's criterion."""

    dark: np.ndarray
    bright: np.ndarray
    dark_mean: float
    bic: float


def _fit_two(values: np.ndarray, darker: Callable) -> _Fit:
    share = np.clip((values > threshold_otsu(values)).astype(float), 0.01, 0.99)  # of the brighter component
    before = -np.inf
    for _ in range(300):
        bright = _gaussian(values, share)(values) + np.log(share.mean())
        dark = darker(values, 1 - share)(values) + np.log1p(-share.mean())
        both = np.logaddexp(dark, bright)
        share = np.clip(np.exp(bright - both), 1e-12, 1 - 1e-12)
        if both.sum() - before < 1e-7 * len(values):
            break
        before = both.sum()
    return _Fit(dark, bright, float(np.average(values, weights=1 - share)), _bic(both, darker, 3))


def _bic(log_density: np.ndarray, darker: Callable, more: int) -> float:
    """Schwarz's criterion; `more` parameters beside the darker component's own."""
    parameters = (1 if darker is _rayleigh else 2) + more
    return parameters * np.log(len(log_density)) - 2 * float(log_density.sum())
