"""C-MOVE and C-GET: images come from an archive to the node."""

from __future__ import annotations

import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import StoragePresentationContexts, build_context, build_role, evt
from pynetdicom.association import Association

from scarnode.dicom.query.ask import SYNTAXES
from scarnode.dicom.query.model import Archive, Retrieved, SubOperations, Unit
from scarnode.dicom.scp.server import TRANSFER_SYNTAXES
from scarnode.dicom.scu.association import ClientAssociation, association, refusal, silence
from scarnode.dicom.scu.remote import RemoteAE
from scarnode.dicom.scu.store import Item, exchange
from scarnode.dicom.sockets import close_socket

SILENCE = 600.0
"""Seconds for which an archive may be silent while it retrieves: some fetch a study from tape, and many say nothing
between the first image and the last."""

LONGEST = 24 * 3600.0
"""Seconds that one retrieval may take in all."""

CANCEL_PATIENCE = 10.0
"""Seconds that an archive has to end a retrieval that was cancelled."""

MESSAGE_ID = 1

GET = UID("1.2.840.10008.5.1.4.1.2.2.3")
MOVE = UID("1.2.840.10008.5.1.4.1.2.2.2")
"""Study Root Query/Retrieve Information Model - GET, - MOVE."""

OUT_OF_RESOURCES = 0xA700
CANCELLED = 0xFE00
PENDING = (0xFF00, 0xFF01)
PERMANENT = {
    0xA801: "it does not know this move destination",
    0xA900: "it can not read the request (identifier does not match the SOP class)",
    0x0122: "it does not do this (SOP class not supported)",
    0x0124: "it does not allow us this (not authorised)",
}
PASSING = {
    0xA701: "it could not count the images (out of resources)",
    0xA702: "it could not send the images (out of resources)",
}

MR_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.4",
    "1.2.840.10008.5.1.4.1.1.4.1",
    "1.2.840.10008.5.1.4.1.1.4.3",
    "1.2.840.10008.5.1.4.1.1.4.4",
    "1.2.840.10008.5.1.4.1.1.66.4",
    "1.2.840.10008.5.1.4.1.1.7",
)
"""Proposed first: what may hold a stack, or a correction."""

MOST_CLASSES = 120
"""Beside the context for C-GET itself: 128 are the most there can be."""

Monitor = Callable[[SubOperations], None]


def move(
    source: Archive,
    unit: Unit,
    node: RemoteAE,
    calling_ae_title: str,
    watch: Monitor,
    stopping: threading.Event,
) -> Retrieved:
    """Ask an archive to send images to the node, by C-MOVE.

    Parameters
    ----------
    source : Archive
    unit : Unit
    node : RemoteAE
        Us: the archive is told its AE title, and must know its address.
    calling_ae_title : str
    watch : callable
        Told after each answer.
    stopping : threading.Event
        Once set, the retrieval is cancelled (C-CANCEL).

    Returns
    -------
    Retrieved
    """
    with association(source.peer, calling_ae_title, [build_context(MOVE, SYNTAXES)], LONGEST) as line:
        if early := _no_line(line, source, calling_ae_title):
            return early
        link = _established(line)
        ended = _ask(
            line, lambda: link.send_c_move(_identifier(unit), node.ae_title, MOVE, MESSAGE_ID), MOVE, watch, stopping
        )
    return _judge(ended, line, source, _how_to_move(source, node, ended.status))


def get(
    source: Archive,
    unit: Unit,
    node: RemoteAE,
    calling_ae_title: str,
    watch: Monitor,
    stopping: threading.Event,
) -> Retrieved:
    """Fetch images from an archive by C-GET, and hand each to the node before the archive gets its answer.

    What the archive hears is what the node's listener says: Success means that the image is durable. Bytes are passed
    on as they come. Takes and gives what `move` does.
    """
    classes = [*MR_CLASSES, *(str(context.abstract_syntax) for context in StoragePresentationContexts)]
    classes = list(dict.fromkeys(classes))[:MOST_CLASSES]
    contexts = [build_context(GET, SYNTAXES), *(build_context(one, list(TRANSFER_SYNTAXES)) for one in classes)]
    roles = [build_role(UID(one), scp_role=True) for one in classes]
    with _Bridge(node, source.peer.ae_title) as bridge:
        handlers = [(evt.EVT_C_STORE, bridge.take)]
        with association(source.peer, calling_ae_title, contexts, LONGEST, handlers, roles) as line:
            if early := _no_line(line, source, calling_ae_title, GET):
                return early
            link = _established(line)
            ended = _ask(line, lambda: link.send_c_get(_identifier(unit), GET, MESSAGE_ID), GET, watch, stopping)
    return _judge(ended, line, source, f"The node said: {bridge.trouble}" if bridge.trouble else "")


class _Bridge:
    """Hands images on to the node's own port; a context manager. One association for each kind of image."""

    def __init__(self, node: RemoteAE, archive: str) -> None:
        self._node, self._archive = node, archive
        self._lines: dict[tuple[str, str], tuple[ClientAssociation, ExitStack]] = {}
        self._stack = ExitStack()
        self._sent = 0
        self.trouble = ""

    def __enter__(self) -> _Bridge:
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="scarnode-get-")))
        return self

    def __exit__(self, *_error: object) -> None:
        for _, opened in self._lines.values():
            opened.close()
        self._stack.close()

    def take(self, event: evt.Event) -> int:
        """Answer a C-STORE with what the node answers."""
        request: Any = event.request
        kind = (str(request.AffectedSOPClassUID), str(event.context.transfer_syntax))
        path = self._folder / "image.dcm"
        try:
            path.write_bytes(event.encoded_dataset(include_meta=True))
            item = Item(path, UID(kind[0]), UID(str(request.AffectedSOPInstanceUID)), UID(kind[1]), path.stat().st_size)
        except OSError as error:
            self.trouble = f"an image can not be kept on the way ({error.strerror})"
            return OUT_OF_RESOURCES
        for _ in range(2):  # an association that was idle for too long is gone: once more over a new one
            line = self._line(kind)
            if line.trouble or line.link is None or not line.link.is_established:
                self.trouble = line.trouble.detail if line.trouble else f"{self._node} does not take this SOP class"
                self._drop(kind)
                continue
            self._sent += 1
            outcome = exchange(line, line.link, path, item, self._sent % 0xFFFF + 1)
            if outcome.status is not None:
                self.trouble = self.trouble if outcome.ok else outcome.detail
                return outcome.status
            self.trouble = outcome.detail
            self._drop(kind)
        return OUT_OF_RESOURCES

    def _line(self, kind: tuple[str, str]) -> ClientAssociation:
        if kind not in self._lines:
            stack = ExitStack()
            # under the archive's title: the ledger shall say where the images come from
            line = stack.enter_context(association(self._node, self._archive, [build_context(*kind)], LONGEST))
            self._lines[kind] = line, stack
        return self._lines[kind][0]

    def _drop(self, kind: tuple[str, str]) -> None:
        _, stack = self._lines.pop(kind)
        stack.close()


def _identifier(unit: Unit) -> Dataset:
    identifier = Dataset()
    identifier.StudyInstanceUID = unit.study_uid
    identifier.QueryRetrieveLevel = "IMAGE" if unit.instances else "SERIES" if unit.series_uid else "STUDY"
    if unit.series_uid:
        identifier.SeriesInstanceUID = unit.series_uid
    if unit.instances:
        identifier.SOPInstanceUID = list(unit.instances)
    return identifier


def _established(line: ClientAssociation) -> Association:
    if line.link is None:  # `_no_line` has looked
        raise RuntimeError("no association")
    return line.link


def _no_line(line: ClientAssociation, source: Archive, title: str, model: str = MOVE) -> Retrieved | None:
    """Describe why nothing can be asked; None where it can."""
    nothing = SubOperations()
    if line.trouble or line.link is None:
        permanent, why = (line.trouble.permanent, line.trouble.detail) if line.trouble else (False, "No association.")
        todo = f" Check host, port and ae_title; it must know the AE title {title}." if permanent else ""
        return Retrieved(False, permanent, None, nothing, (), why + todo)
    refused = [context for context in line.link.rejected_contexts if context.abstract_syntax == model]
    if refused:
        other = "get" if model == MOVE else "move"
        why = refusal(None, refused, source.peer).detail
        todo = f" Allow it there, or set [source:{source.name}] how = {other}."
        return Retrieved(False, True, None, nothing, (), why + todo)
    return None


def _ask(
    line: ClientAssociation,
    request: Callable[[], Iterator[tuple[Dataset, Dataset | None]]],
    model: str,
    watch: Monitor,
    stopping: threading.Event,
) -> Retrieved:
    """Make a request, and follow its answers to the last one."""
    link = _established(line)
    link.dimse_timeout = max(SILENCE, line.destination.timeout)
    counts, status, comment = SubOperations(), None, ""
    failed: tuple[str, ...] = ()
    started = time.monotonic()
    with _cancelling(link, model, stopping):
        try:
            for response, identifier in request():
                status = int(response.Status) if "Status" in response else None
                if status is None:
                    break
                started = time.monotonic()
                counts = _counts(response, counts)
                watch(counts)
                comment = str(response.get("ErrorComment") or "")
                failed = _uids(identifier)
        except (RuntimeError, ValueError):  # the association ended in this very moment
            status = None
    if status is None or status in PENDING:
        line.end()
        cancelled = stopping.is_set()
        why = "Cancelled." if cancelled else silence(line, "the retrieval", started, link.dimse_timeout or SILENCE)
        return Retrieved(False, False, None, counts, failed, why, cancelled)
    if comment:
        comment = " It says why: see its log."  # free text of a peer may quote a patient
    return Retrieved(status == 0 and not counts.failed, status in PERMANENT, status, counts, failed, comment)


def _judge(ended: Retrieved, line: ClientAssociation, source: Archive, todo: str) -> Retrieved:
    """Put the end of a retrieval into words."""
    status, counts = ended.status, ended.counts
    if status is None:
        return ended
    if status == CANCELLED:
        return Retrieved(False, False, status, counts, ended.failed, "Cancelled.", cancelled=True)
    if ended.ok:
        return Retrieved(True, False, status, counts, (), f"{source} sent {counts.completed} images.")
    why = PERMANENT.get(status) or PASSING.get(status)
    if why is None and counts.failed:
        why = f"{counts.failed} images failed, {counts.completed} came"
    text = f"{source} answered 0x{status:04X}: {why or 'it could not do it'}.{ended.detail} {todo}"
    return Retrieved(False, ended.permanent, status, counts, ended.failed, text.strip())


def _how_to_move(source: Archive, node: RemoteAE, status: int | None) -> str:
    """Describe what must be set where, so that a C-MOVE arrives."""
    title, place = node.ae_title, f"{our_address(source.peer)}, port {node.port}"
    if status == 0xA801:
        return (
            f"Enter on {source.peer.ae_title} a DICOM node with AE title {title}, address {place}. If it has one, "
            "check the address there, and that no firewall is between."
        )
    return (
        f"Check that {source.peer.ae_title} knows the AE title {title} with address {place}, that no firewall is "
        f"between, and that [node] calling_ae_titles lets it in; see the node's log. Or set how = get."
    )


def our_address(peer: RemoteAE) -> str:
    """Return the address by which a peer sees this machine."""
    family = socket.AF_INET6 if ":" in peer.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((peer.host, peer.port))  # sends nothing: asks the routing table
            return sock.getsockname()[0]
    except OSError:
        return "of this machine"


@contextmanager
def _cancelling(link: Association, model: str, stopping: threading.Event) -> Iterator[None]:
    """Send a C-CANCEL when `stopping` is set, and cut the line where that changes nothing."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            if stopping.is_set():
                with suppress(RuntimeError, ValueError):
                    link.send_c_cancel(MESSAGE_ID, query_model=model)
                line = link.dul.socket
                if not ended.wait(CANCEL_PATIENCE) and line is not None and line.socket is not None:
                    close_socket(line.socket)  # an abort would leave the one who waits for the answer waiting
                return

    thread = threading.Thread(target=watch, name="cancel", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _counts(response: Dataset, former: SubOperations) -> SubOperations:
    def number(keyword: str, default: int) -> int:
        value = response.get(f"NumberOf{keyword}Suboperations")
        return default if value is None else int(value)

    remaining = number("Remaining", former.remaining if response.Status in PENDING else 0)
    came = number("Completed", former.completed) + number("Warning", 0)
    return SubOperations(remaining, came, number("Failed", former.failed))


def _uids(identifier: Dataset | None) -> tuple[str, ...]:
    value = identifier.get("FailedSOPInstanceUIDList") if identifier else None
    values: Sequence[str] = [value] if isinstance(value, str) else value or ()
    return tuple(str(uid) for uid in values if uid)
