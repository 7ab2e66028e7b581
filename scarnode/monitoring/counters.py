"""The ledger in numbers, looked at now and then: whoever wants metrics is given the last look, and asks nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import text

from scarnode.ledger.ledger import Ledger
from scarnode.ledger.queries import count_jobs
from scarnode.monitoring import queries
from scarnode.util.clock import monotonic_time

BUCKETS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Upper bounds of the histogram of analysis times, in seconds."""


@dataclass(frozen=True)
class Counters:
    """One look at the ledger.

    Attributes
    ----------
    at : float
        When, in UTC seconds since 1970; 0: there was none yet.
    jobs : mapping of str to int
        Jobs by state.
    deliveries : mapping of (str, str) to int
        Objects by destination and state.
    received : mapping of str to (int, int)
        Instances and their bytes by calling AE title, of all time; in the order of their first instances.
    job_waits, study_waits : float
        Seconds for which the oldest queued job, and the oldest study that is not searched, wait.
    delivery_waits : mapping of str to float
        Seconds for which results wait for a destination that did not take them.
    flagged, results : int
        Of the last results.
    alarms : tuple of str
        Those that stand.
    """

    at: float = 0.0
    jobs: Mapping[str, int] = field(default_factory=dict)
    deliveries: Mapping[tuple[str, str], int] = field(default_factory=dict)
    received: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    job_waits: float = 0.0
    study_waits: float = 0.0
    delivery_waits: Mapping[str, float] = field(default_factory=dict)
    flagged: int = 0
    results: int = 0
    alarms: tuple[str, ...] = ()

    @property
    def at_rest(self) -> bool:
        """Return whether nothing waits."""
        return not (self.job_waits or self.study_waits or any(self.delivery_waits.values()))


class LedgerCounts:
    """Looks at the ledger; instances, which only become more, are counted on from the last look.

    Parameters
    ----------
    ledger : Ledger
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._received: dict[str, tuple[int, int]] = {}
        self._counted = 0

    def look(self, destinations: Sequence[str], last_results: int) -> Counters:
        """Count."""
        now = time.time()
        self._count_received()
        queued = queries.oldest_queued(self._ledger, now)
        quiet = queries.oldest_unsearched(self._ledger)
        refused = {name: queries.oldest_refused(self._ledger, name) for name in destinations}
        flagged, results = queries.flagged_among(self._ledger, last_results)
        with self._ledger.reading() as session:
            by_destination = "SELECT destination, state, count(*) FROM delivery GROUP BY destination, state"
            deliveries = session.execute(text(by_destination)).all()
        return Counters(
            at=now,
            jobs=count_jobs(self._ledger),
            deliveries={(row[0], row[1]): row[2] for row in deliveries if row[0] in destinations},
            received=dict(self._received),
            job_waits=max(0.0, now - queued.since) if queued else 0.0,
            study_waits=max(0.0, monotonic_time() - quiet) if quiet is not None else 0.0,
            delivery_waits={name: max(0.0, now - one.since) if one else 0.0 for name, one in refused.items()},
            flagged=flagged,
            results=results,
            alarms=tuple(sorted(self._ledger.alarms.standing_alarms())),
        )

    def _count_received(self) -> None:
        query = """
            SELECT calling_ae, count(*), sum(size), max(id) FROM instance WHERE id > :counted
            GROUP BY calling_ae ORDER BY min(id)"""
        with self._ledger.reading() as session:
            rows = session.execute(text(query), {"counted": self._counted}).all()
        for title, count, size, newest in rows:
            former = self._received.get(title, (0, 0))
            self._received[title] = (former[0] + count, former[1] + size)
            self._counted = max(self._counted, newest)


class Durations:
    """How long analyses took: those in the ledger at the start, and every one since.

    Parameters
    ----------
    ledger : Ledger
    """

    def __init__(self, ledger: Ledger) -> None:
        within = ", ".join(f"count(CASE WHEN seconds <= {bound} THEN 1 END)" for bound in BUCKETS)
        query = f"SELECT {within}, count(seconds), sum(seconds) FROM job WHERE seconds IS NOT NULL"
        with ledger.reading() as session:
            *counts, total, seconds = session.execute(text(query)).one()
        self._counts, self._total, self._sum = list(counts), int(total), float(seconds or 0.0)

    def add(self, seconds: float) -> None:
        """Count one more."""
        self._counts = [count + (seconds <= bound) for count, bound in zip(self._counts, BUCKETS, strict=True)]
        self._total += 1
        self._sum += seconds

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """Return the cumulative counts by upper bound, as Prometheus has them, and the sum of all seconds."""
        counts = [(str(bound), float(count)) for bound, count in zip(BUCKETS, self._counts, strict=True)]
        return [*counts, ("+Inf", float(self._total))], self._sum
