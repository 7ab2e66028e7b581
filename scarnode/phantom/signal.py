"""Brightness of tissues in an inversion-recovery image minutes after gadolinium."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Sequence:
    """An inversion-recovery gradient-echo readout.

    Attributes
    ----------
    inversion_time : float
        ms from the inversion to the pulse that fills the centre of k-space.
    period : float
        ms from one inversion to the next (1 to 3 RR intervals).
    flip_angle : float
        degree.
    pulse_spacing, echo_time : float
        ms.
    pulses : int
        Pulses per readout train; the middle one fills the centre of k-space.
    inversion_efficiency : float
        k: the inversion brings Mz to -k Mz.
    """

    inversion_time: float
    period: float = 2000.0
    flip_angle: float = 20.0
    pulse_spacing: float = 6.0
    echo_time: float = 2.5
    pulses: int = 25
    inversion_efficiency: float = 1.0

    @property
    def lead(self) -> float:
        """Ms from the readout's first pulse to its central one."""
        return (self.pulses // 2) * self.pulse_spacing


def steady_state_signal(t1: np.ndarray | float, sequence: Sequence, t2_star: float | None = None) -> np.ndarray:
    """Return the signed signal of tissue with unit proton density in the steady state.

    Bloch recursion of Mz over inversion, recovery, the readout's pulses and recovery until the next
    inversion. One period maps Mz to A Mz + B, so the steady state B / (1 - A) needs no iteration.

    Parameters
    ----------
    t1 : array_like
        ms.
    sequence : Sequence
    t2_star : float, optional
        ms; no decay when omitted.

    Returns
    -------
    numpy.ndarray
        Transverse magnetisation at the central pulse; negative before the tissue's null.
    """
    t1 = np.asarray(t1, dtype=float)
    wait = sequence.inversion_time - sequence.lead
    rest = sequence.period - wait - sequence.pulses * sequence.pulse_spacing
    angle = np.deg2rad(sequence.flip_angle)

    def recover(mz: np.ndarray, time: float) -> np.ndarray:
        return 1 - (1 - mz) * np.exp(-time / t1)

    def period(mz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mz = recover(-sequence.inversion_efficiency * mz, wait)
        central = mz
        for pulse in range(sequence.pulses):
            if pulse == sequence.pulses // 2:
                central = mz
            mz = recover(mz * np.cos(angle), sequence.pulse_spacing)
        return recover(mz, rest), central

    offset, _ = period(np.zeros_like(t1))
    slope = period(np.ones_like(t1))[0] - offset
    _, central = period(offset / (1 - slope))
    decay = 1.0 if t2_star is None else np.exp(-sequence.echo_time / t2_star)
    return central * np.sin(angle) * decay


def null_time(t1: float, sequence: Sequence) -> float:
    """Return the inversion time, ms, at which tissue of `t1` ms has no signal (60 halvings of the interval)."""
    low, high = sequence.lead + 1.0, sequence.period - sequence.pulses * sequence.pulse_spacing
    for _ in range(60):
        middle = (low + high) / 2
        if steady_state_signal(t1, replace(sequence, inversion_time=middle)) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


@dataclass(frozen=True)
class Contrast:
    """Signed signal per tissue, dense scar at the null of myocardium = 1, and the sequence that gave it."""

    signals: dict[str, float]
    sequence: Sequence
    rr_interval: float


def draw_sequence(rng: np.random.Generator, t1_myocardium: float) -> tuple[Sequence, float, float]:
    """Draw a sequence whose inversion time misses the null by N(0, 20) ms, in 10 % by up to 60 ms.

    Returns
    -------
    tuple
        The sequence, the RR interval (ms) and the inversion time (ms) that would have nulled myocardium.
    """
    rr = rng.uniform(600, 1200)
    # An inversion every second beat as a rule; every beat only in slow hearts, where T1 has time to recover.
    beats = rng.choice([2, 3], p=[0.8, 0.2]) if rr < 1000 else rng.choice([1, 2], p=[0.2, 0.8])
    sequence = Sequence(
        inversion_time=300,
        period=rr * beats,
        flip_angle=rng.uniform(15, 30),
        pulse_spacing=rng.uniform(5, 8),
        echo_time=rng.uniform(1.2, 3.5),
        pulses=int(rng.integers(16, 31)),
        inversion_efficiency=rng.uniform(0.9, 1.0),
    )
    null = null_time(t1_myocardium, sequence)
    error = rng.uniform(-60, 60) if rng.random() < 0.1 else rng.normal(0, 20)
    # No technologist sets less than 150 ms: the series would pass for dark blood or early enhancement.
    return replace(sequence, inversion_time=max(null + error, sequence.lead + 5, 150.0)), rr, null


def draw_contrast(rng: np.random.Generator, random_contrast: float, noise: float) -> Contrast:
    """Draw T1s after gadolinium at 1.5 T, a sequence, and so every tissue's brightness.

    Parameters
    ----------
    rng : numpy.random.Generator
    random_contrast : float
        Probability of random brightness; scar stays brighter than myocardium by 1.5 `noise`.
    noise : float
        SD of the noise, in units of dense scar at the null.
    """
    myocardium = float(np.clip(rng.normal(450, 45), 330, 600))
    sequence, rr, null = draw_sequence(rng, myocardium)
    t1 = {
        "myocardium": myocardium,
        "blood": myocardium - rng.uniform(70, 170),
        "dense": myocardium * rng.uniform(0.55, 0.70),
        "grey": myocardium * rng.uniform(0.70, 0.88),
        "fat": rng.uniform(230, 290),
        "liver": rng.uniform(280, 420),
        "spleen": rng.uniform(300, 400),
        "muscle": myocardium + rng.uniform(20, 120),
        "effusion": rng.uniform(1500, 3000),
        "noreflow": rng.uniform(500, 1100),
        "lung": rng.uniform(500, 900),
        "fluid": rng.uniform(800, 2500),
        "marrow": rng.uniform(280, 420),
    }
    density = dict.fromkeys(t1, 1.0) | {
        "lung": rng.uniform(0.10, 0.25),
        "liver": rng.uniform(0.75, 1.0),
        "fat": rng.uniform(0.8, 1.1),
        "marrow": rng.uniform(0.5, 0.9),
        "noreflow": 0.95,
    }
    # A bright blood pool is common where flow brings fresh spins; fat suppression darkens fat.
    density["blood"] = rng.uniform(0.85, 1.25)
    if rng.random() < 0.15:
        density["fat"] *= rng.uniform(0.1, 0.4)
    t2_star = dict.fromkeys(t1, 40.0) | {"lung": 2.0, "liver": 25.0}
    unit = float(steady_state_signal(t1["dense"], replace(sequence, inversion_time=null), 40.0))
    signals = {
        name: density[name] * float(steady_state_signal(value, sequence, t2_star[name])) / unit
        for name, value in t1.items()
    }
    if rng.random() < random_contrast:
        signals = _random_signals(rng, noise)
    signals |= {"air": 0.0, "pericardium": signals["myocardium"] * 0.4}
    return Contrast(signals, sequence, rr)


def _random_signals(rng: np.random.Generator, noise: float) -> dict[str, float]:
    names = ("blood", "fat", "liver", "spleen", "muscle", "effusion", "noreflow", "fluid", "marrow")
    signals = {name: rng.uniform(-0.2, 1.3) for name in names}
    signals["lung"] = rng.uniform(0.0, 0.25)
    signals["myocardium"] = rng.uniform(-0.1, 0.6)
    floor = abs(signals["myocardium"]) + 1.5 * noise
    signals["grey"] = floor + rng.uniform(0.0, 0.3)
    signals["dense"] = signals["grey"] + rng.uniform(0.1, 0.6)
    signals["blood"] = max(signals["blood"], signals["myocardium"] + rng.uniform(-0.05, 0.3))
    return signals
