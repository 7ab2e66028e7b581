"""A study from an archive to the node: what could hold an LGE stack, until all of it is there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from scarnode.dicom.query.ask import find_series
from scarnode.dicom.query.model import Archive, FoundSeries, FoundStudy, PulledStudy, Retrieved, SubOperations, Unit
from scarnode.dicom.query.retrieve import get, move
from scarnode.dicom.scu.remote import RemoteAE
from scarnode.util.backoff import longest_delay

MAX_TRIES = 4
"""How often images that did not come are asked for."""

FIRST_PAUSE, LONGEST_PAUSE = 2.0, 30.0
"""Seconds before that; doubles each time."""

ARRIVAL_PATIENCE = 20.0
"""Seconds without a further image, after an archive says that it has sent all, until they count as lost."""

Arrived = Callable[[str, Collection[str]], int]
"""Gives how many images of a study, and of these series (none: of all), the ledger knows."""


@dataclass(frozen=True)
class Link:
    """Between whom images go.

    Attributes
    ----------
    source : Archive
    node : RemoteAE
        Us.
    calling_ae_title : str
    arrived : Arrived
        An archive may send to another machine with our AE title, and report success: what counts is what came.
    """

    source: Archive
    node: RemoteAE
    calling_ae_title: str
    arrived: Arrived


def choose_series(link: Link, study: FoundStudy, modality: str) -> list[FoundSeries]:
    """Return the series of a study to be pulled: those of a modality, and those of which the archive does not say it.

    Raises
    ------
    QueryError
        The archive can not be asked.
    """
    found = find_series(link.source, study.study_instance_uid, link.calling_ae_title)
    return [series for series in found if not modality or series.modality in ("", modality)]


def pull_study(
    link: Link,
    study: FoundStudy,
    series: Sequence[FoundSeries],
    watch: Callable[[SubOperations], None] = lambda counts: None,
    stopping: threading.Event | None = None,
) -> PulledStudy:
    """Bring series of a study to the node; what did not come is asked for again.

    Parameters
    ----------
    link : Link
    study : FoundStudy
    series : sequence of FoundSeries
        From `choose_series`.
    watch : callable
        Told where the whole study stands.
    stopping : threading.Event, optional
        Once set, what is under way is cancelled.

    Returns
    -------
    PulledStudy
    """
    stopping = stopping or threading.Event()
    uid = study.study_instance_uid
    if not series:
        return PulledStudy(uid, False, 0, 0, "It has no series of this modality.")
    units = [Unit(uid, one.series_instance_uid) for one in series]
    if study.series is not None and study.series == len(series):
        units = [Unit(uid)]
    expected = [one.instances for one in series]
    total = sum(count for count in expected if count) if None not in expected else 0
    came = failed = 0
    for unit in units:
        size = (
            total
            if not unit.series_uid
            else next(s.instances or 0 for s in series if s.series_instance_uid == unit.series_uid)
        )
        done = came

        def tell(counts: SubOperations, done: int = done) -> None:
            remaining = max(counts.remaining, total - done - counts.completed - counts.failed)
            watch(SubOperations(remaining, done + counts.completed, counts.failed))

        got = _retrieve(link, unit, size, tell, stopping)
        came += got.counts.completed
        failed += got.counts.failed
        if not got.ok:
            return PulledStudy(uid, False, came, failed or max(0, total - came), got.detail, got.cancelled)
    return PulledStudy(uid, True, came, 0, f"{came} images")


def _retrieve(
    link: Link, unit: Unit, size: int, watch: Callable[[SubOperations], None], stopping: threading.Event
) -> Retrieved:
    """Ask for a unit until all of it came, or asking again is pointless."""
    ask = get if link.source.how == "get" else move
    came, wanted, got = 0, unit, _NOTHING
    for attempt in range(MAX_TRIES):
        if attempt:
            stopping.wait(longest_delay(attempt, FIRST_PAUSE, LONGEST_PAUSE))
        if stopping.is_set():
            return Retrieved(False, False, None, SubOperations(0, came), (), "Cancelled.", cancelled=True)
        before = came if wanted.instances else 0

        def tell(counts: SubOperations, before: int = before) -> None:
            watch(SubOperations(counts.remaining, before + counts.completed, counts.failed))

        got = ask(link.source, wanted, link.node, link.calling_ae_title, tell, stopping)
        came = before + got.counts.completed
        if got.ok:
            got = _checked(link, unit, size, came, got)
        if got.ok or got.permanent or got.cancelled:
            break
        if got.failed and unit.series_uid and len(got.failed) == got.counts.failed:
            wanted = Unit(unit.study_uid, unit.series_uid, got.failed)  # only what did not come
        else:
            wanted = unit  # what came already comes again, and is kept once
    return Retrieved(
        got.ok,
        got.permanent,
        got.status,
        SubOperations(0, came, got.counts.failed),
        got.failed,
        got.detail,
        got.cancelled,
    )


_NOTHING = Retrieved(False, False, None, SubOperations(), (), "")


def _checked(link: Link, unit: Unit, size: int, came: int, got: Retrieved) -> Retrieved:
    """Believe an archive's success when the ledger knows as many images as it sent."""
    series = [unit.series_uid] if unit.series_uid else []
    here, since = link.arrived(unit.study_uid, series), time.monotonic()
    while here < came and time.monotonic() - since < ARRIVAL_PATIENCE:
        time.sleep(0.1)
        if (now := link.arrived(unit.study_uid, series)) > here:
            here, since = now, time.monotonic()
    if here < came:
        detail = (
            f"{link.source} says that it sent {came} images, and {here} came: it may know another machine under the AE "
            f"title {link.node.ae_title}. Check the address and port that it has for it."
        )
        return Retrieved(False, here == 0, got.status, SubOperations(0, here, came - here), (), detail)
    if came == 0 and size > 0:
        detail = f"{link.source} answered Success and sent nothing of {size} images: it may not have them at hand."
        return Retrieved(False, False, got.status, got.counts, (), detail)
    return got
