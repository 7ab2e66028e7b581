"""The delay before something that failed is tried again."""

import random

_MOST_DOUBLINGS = 60
"""Keeps 2**n a float; 2**60 seconds is beyond every cap."""


def longest_delay(attempt: int, base: float, cap: float) -> float:
    """Return ``min(cap, base * 2 ** (attempt - 1))``, the delay without jitter: where one alone tries again.

    Parameters
    ----------
    attempt : int
        Attempts that failed so far, from 1.
    base : float
        The first delay, seconds.
    cap : float
        No delay is longer, seconds.

    Raises
    ------
    ValueError
        If `attempt` is below 1.
    """
    if attempt < 1:
        raise ValueError(f"attempt is counted from 1, not {attempt}")
    return min(cap, base * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS))


def next_delay(attempt: int, base: float, cap: float, rng: random.Random) -> float:
    """Return the delay after a failed attempt: exponential with "equal jitter".

    With ``ceiling = min(cap, base * 2 ** (attempt - 1))`` the delay is drawn uniformly from
    ``[ceiling / 2, ceiling]``. The fixed half spares a PACS that has a fault. The random half spreads deliveries that
    failed at the same time.

    Parameters
    ----------
    attempt : int
        Attempts that failed so far, from 1.
    base : float
        Ceiling of the first delay, seconds, above 0.
    cap : float
        No delay is longer, seconds, at least `base`.
    rng : random.Random
        The source of the jitter.

    Returns
    -------
    float
        Seconds.

    Raises
    ------
    ValueError
        If `attempt` is below 1, or not ``0 < base <= cap``.

    References
    ----------
    M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    if not 0 < base <= cap:
        raise ValueError(f"0 < base <= cap is needed, not base {base} and cap {cap}")
    ceiling = longest_delay(attempt, base, cap)
    return rng.uniform(ceiling / 2, ceiling)
