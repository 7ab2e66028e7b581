"""Brightness of tissues against published check values."""

from dataclasses import replace

import numpy as np
import pytest

from scarnode.phantom.signal import Sequence, draw_contrast, null_time, steady_state_signal

# PD 1, flip angle 20, TR 6, 25 pulses, inversion every 2 s: relative to T1 280 at the null of T1 460.
T1 = np.array([280.0, 370.0, 340.0, 260.0, 460.0])
CHECK = {
    0: [1.00, 0.41, 0.58, 1.16, 0.00],
    -30: [0.78, 0.20, 0.37, 0.95, -0.19],
    30: [1.19, 0.60, 0.77, 1.36, 0.18],
}


@pytest.mark.parametrize("late", CHECK)
def test_signal_has_the_check_values(late):
    sequence = Sequence(inversion_time=300)
    null = null_time(460.0, sequence)
    unit = steady_state_signal(280.0, replace(sequence, inversion_time=null))
    signal = steady_state_signal(T1, replace(sequence, inversion_time=null + late)) / unit
    np.testing.assert_allclose(signal, CHECK[late], atol=0.01)


def test_steady_state_is_a_fixed_point_of_brute_force_iteration():
    sequence = Sequence(inversion_time=260, period=1700, flip_angle=25, pulses=17, inversion_efficiency=0.93)
    t1, mz, central = 410.0, 1.0, 0.0
    for _ in range(50):
        mz = 1 - (1 + sequence.inversion_efficiency * mz) * np.exp(-(260 - sequence.lead) / t1)
        for pulse in range(17):
            if pulse == 8:
                central = mz * np.sin(np.deg2rad(25))
            mz = 1 - (1 - mz * np.cos(np.deg2rad(25))) * np.exp(-6.0 / t1)
        mz = 1 - (1 - mz) * np.exp(-(1700 - (260 - sequence.lead) - 17 * 6.0) / t1)
    assert steady_state_signal(t1, sequence) == pytest.approx(central, abs=1e-9)


def test_t2_star_decays_the_signal():
    sequence = Sequence(inversion_time=300, echo_time=2.0)
    ratio = steady_state_signal(280.0, sequence, 2.0) / steady_state_signal(280.0, sequence)
    assert ratio == pytest.approx(np.exp(-1))


def test_scar_stays_brighter_than_myocardium_in_random_contrast():
    noise = 0.1
    for seed in range(50):
        signals = draw_contrast(np.random.default_rng(seed), 1.0, noise).signals
        assert signals["grey"] >= abs(signals["myocardium"]) + 1.5 * noise - 1e-9
        assert signals["dense"] > signals["grey"]


def test_header_values_are_plausible():
    times = [draw_contrast(np.random.default_rng(seed), 0.0, 0.1).sequence.inversion_time for seed in range(40)]
    assert np.percentile(times, 5) > 150 and np.percentile(times, 95) < 400
