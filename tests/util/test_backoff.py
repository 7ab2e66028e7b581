import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scarnode.util.backoff import longest_delay, next_delay

attempts = st.integers(1, 10**6)
seconds = st.floats(1e-3, 1e6)
seeds = st.integers(0, 2**32)


@given(attempts, seconds, seconds, seeds)
def test_delay_stays_between_half_and_the_whole_of_its_ceiling(attempt, one, other, seed):
    base, cap = sorted((one, other))
    ceiling = min(cap, base * 2 ** min(attempt - 1, 1000))
    assert ceiling / 2 <= next_delay(attempt, base, cap, random.Random(seed)) <= ceiling <= cap


@given(st.integers(1, 30), seconds, seeds)
def test_delay_doubles_until_the_cap_when_the_draw_is_the_same(attempt, base, seed):
    cap = base * 2**20
    delays = [next_delay(n, base, cap, random.Random(seed)) for n in (attempt, attempt + 1)]
    assert delays[1] == pytest.approx(delays[0] * (2 if attempt <= 20 else 1))


def test_results_that_failed_together_do_not_come_back_together():
    rng = random.Random(1)
    delays = [next_delay(5, 5.0, 900.0, rng) for _ in range(100)]
    assert len(set(delays)) == 100
    assert min(delays) < 45 < 75 < max(delays)


@pytest.mark.parametrize(("attempt", "base", "cap"), [(0, 1, 2), (1, 0, 2), (1, 3, 2), (1, float("nan"), 2)])
def test_a_schedule_that_makes_no_sense_is_refused(attempt, base, cap):
    with pytest.raises(ValueError, match=r"attempt|base"):
        next_delay(attempt, base, cap, random.Random())


def test_without_jitter_the_delay_doubles_from_the_first_to_the_longest():
    assert [longest_delay(attempt, 2.0, 30.0) for attempt in (1, 2, 3, 4, 5, 6, 10**6)] == [2, 4, 8, 16, 30, 30, 30]
    assert longest_delay(1, 7200.0, 3600.0) == 3600.0
    with pytest.raises(ValueError, match="from 1"):
        longest_delay(0, 1.0, 2.0)
