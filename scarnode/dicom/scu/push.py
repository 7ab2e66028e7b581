"""Any files to any peer by C-STORE, byte for byte, as a scanner or a person with storescu sends them."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from pydicom.misc import is_dicom
from pydicom.uid import UID, MediaStorageDirectoryStorage
from pynetdicom import build_context

from scarnode.dicom.part10 import IncompleteError, NotPart10Error, open_file, skip_meta
from scarnode.dicom.scu.association import association
from scarnode.dicom.scu.destination import About, Outcome, patience, unable
from scarnode.dicom.scu.remote import RemoteAE
from scarnode.dicom.scu.store import MOST_CONTEXTS, Item, exchange, read_item, untaken
from scarnode.util.backoff import longest_delay

MAX_TRIES = 6
"""How often a file is offered that the peer does not take for now (A700, an abort, no association)."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds before what was not taken is offered again; doubles each time."""


@dataclass(frozen=True)
class Pushed:
    """What became of files that were pushed.

    Attributes
    ----------
    outcomes : tuple of Outcome
        One for each DICOM file, in their order.
    skipped : tuple of Path
        Files that are no DICOM objects, or a DICOMDIR.
    size : int
        Bytes that the peer took.
    seconds : float
    associations : int
        How many were opened.
    """

    outcomes: tuple[Outcome, ...]
    skipped: tuple[Path, ...]
    size: int
    seconds: float
    associations: int

    @property
    def refused(self) -> tuple[Outcome, ...]:
        """What the peer did not take."""
        return tuple(outcome for outcome in self.outcomes if not outcome.ok)


def push(
    paths: Sequence[Path],
    destination: RemoteAE,
    calling_ae_title: str,
    watch: Callable[[int, int], None] = lambda done, total: None,
    stopping: threading.Event | None = None,
) -> Pushed:
    """C-STORE files as they are: nothing is transcoded, and only the presentation contexts that they need are proposed.

    A file that the peer does not take for now is offered again, `MAX_TRIES` times in all, over a new association where
    the old one broke.

    Parameters
    ----------
    paths : sequence of Path
        What is no DICOM object is skipped; a file without preamble or file meta information goes out all the same.
    destination : RemoteAE
    calling_ae_title : str
    watch : callable
        Told bytes done and bytes in all after each file.
    stopping : threading.Event, optional
        Once set, no further file is begun.

    Returns
    -------
    Pushed
    """
    with TemporaryDirectory(prefix="scarnode-send-") as folder:
        return _push(paths, destination, calling_ae_title, watch, stopping or threading.Event(), Path(folder))


def _push(
    paths: Sequence[Path],
    destination: RemoteAE,
    calling_ae_title: str,
    watch: Callable[[int, int], None],
    stopping: threading.Event,
    folder: Path,
) -> Pushed:
    started = time.monotonic()
    outcomes: dict[Path, Outcome] = {}
    waiting: list[Item] = []
    skipped: list[Path] = []
    for path in dict.fromkeys(paths):
        found = _read(path, folder)
        if found is None or (isinstance(found, Item) and found.sop_class_uid == MediaStorageDirectoryStorage):
            skipped.append(path)
        elif isinstance(found, Item):
            waiting.append(found)
        else:
            outcomes[path] = found
    total, done, taken, links, failed = sum(item.size for item in waiting), 0, 0, 0, 0
    tries = {item.path: 0 for item in waiting}
    while waiting and not stopping.is_set():
        links += 1
        again: list[Item] = []
        batch, later = _one_association(waiting)
        before = taken
        for item, outcome in _send(batch, destination, calling_ae_title, stopping):
            outcomes[item.path] = outcome
            tries[item.path] += outcome.about is not About.NOT_TRIED
            hopeless = outcome.about is About.DESTINATION and not taken  # nobody there: a typing error, more likely
            if outcome.ok or outcome.permanent or tries[item.path] >= (2 if hopeless else MAX_TRIES):
                done += item.size
                taken += item.size if outcome.ok else 0
                watch(done, total)
            else:
                again.append(item)
        untouched = [item for item in batch if item.path not in outcomes]
        again.sort(key=lambda item: outcomes[item.path].about is not About.NOT_TRIED)  # what broke a line goes last
        waiting = untouched + again + later
        if again:
            failed = 1 if taken > before else failed + 1
            stopping.wait(longest_delay(failed, FIRST_PAUSE, LONGEST_PAUSE))
    for item in waiting:
        outcomes[item.path] = Outcome(item.path, False, False, None, "Not sent: stopped.", About.NOT_TRIED)
    ordered = tuple(outcomes[path] for path in dict.fromkeys(paths) if path in outcomes)
    return Pushed(ordered, tuple(skipped), taken, time.monotonic() - started, links)


def _read(path: Path, folder: Path) -> Item | Outcome | None:
    """Return what is to be sent of a file, or why it can not be; None for one that is no DICOM object.

    A file without preamble or file meta information is completed in `folder`.
    """
    if not path.exists():
        return None
    completed = None
    try:
        with open_file(path) as stream:
            skip_meta(stream)
            if isinstance(stream, BytesIO):
                completed = folder / f"{len(list(folder.iterdir()))}.dcm"
                completed.write_bytes(stream.getvalue())
    except IncompleteError as error:
        return unable(path, f"It is not sent: {error}.", permanent=True)
    except NotPart10Error:
        if not is_dicom(path):
            return None
    except OSError:
        pass  # `read_item` says why
    found = read_item(completed or path)
    if isinstance(found, Item):
        return dataclasses.replace(found, path=path, file=completed)
    return dataclasses.replace(found, path=path)


def _one_association(items: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    """Return what fits into the presentation contexts of one association, and the rest."""
    pairs: set[tuple[UID, UID]] = set()
    fitting: list[Item] = []
    rest: list[Item] = []
    for item in items:
        pair = (item.sop_class_uid, item.transfer_syntax_uid)
        if pair in pairs or len(pairs) < MOST_CONTEXTS:
            pairs.add(pair)
            fitting.append(item)
        else:
            rest.append(item)
    return fitting, rest


def _send(
    items: Sequence[Item], destination: RemoteAE, calling_ae_title: str, stopping: threading.Event
) -> Iterator[tuple[Item, Outcome]]:
    """Send over one association; what comes behind an answer that did not come is not tried."""
    pairs = dict.fromkeys((item.sop_class_uid, item.transfer_syntax_uid) for item in items)
    contexts = [build_context(*pair) for pair in pairs]
    longest = sum(patience(item.size, destination.timeout) for item in items)
    with association(destination, calling_ae_title, contexts, longest) as line:
        for number, item in enumerate(items):
            if stopping.is_set():
                return
            if line.trouble or line.link is None:
                if line.trouble is not None:
                    yield item, dataclasses.replace(line.trouble, path=item.path)
                continue
            pair = (item.sop_class_uid, item.transfer_syntax_uid)
            accepted = {(c.abstract_syntax, c.transfer_syntax[0]) for c in line.link.accepted_contexts}
            if pair in accepted:
                yield item, exchange(line, line.link, item.file or item.path, item, number % 0xFFFF + 1)
            else:
                refused = [c for c in line.link.rejected_contexts if (c.abstract_syntax, c.transfer_syntax[0]) == pair]
                yield item, untaken(item, refused, [] if refused else [syntax for _, syntax in accepted], destination)
