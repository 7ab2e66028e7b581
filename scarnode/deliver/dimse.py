"""Results go out by C-STORE: one association, one outcome for every file, whatever the peer does."""

from __future__ import annotations

import dataclasses
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, _config, build_context, evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_RJ
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import Verification
from pynetdicom.status import STATUS_SUCCESS, STATUS_WARNING, STORAGE_SERVICE_CLASS_STATUS, code_to_category

from scarnode.deliver.model import (
    DUPLICATE_SOP_INSTANCE,
    PERMANENT_STATUSES,
    About,
    Destination,
    Outcome,
    patience,
    unable,
)
from scarnode.tls import client_context, explain, hang_up
from scarnode.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

# A file that is named by its path goes out in its own bytes instead of being decoded and encoded again.
_config.STORE_SEND_CHUNKED_DATASET = True

_MOST_CONTEXTS = 128
"""Presentation context IDs are odd and below 256 (PS3.8 9.3.2.2)."""

_MAX_PDU = 131072
"""What we can receive at once; what we send is bounded by the peer."""

_C_STORE_RSP = 0x8001
"""Command Field of a C-STORE response (PS3.7 E.1)."""

_CONVERTIBLE = frozenset({ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian})
"""Transfer syntaxes that differ in the coding of headers only: pynetdicom turns one into the other."""


@dataclass(frozen=True)
class _Item:
    """A file that can be sent: what its meta information says, and its size in bytes."""

    path: Path
    sop_class_uid: UID
    sop_instance_uid: UID
    transfer_syntax_uid: UID
    size: int


@dataclass
class Line:
    """What is known of an association besides what pynetdicom keeps."""

    destination: Destination
    longest: float
    link: Association | None = None
    trouble: Outcome | None = None
    """Why there is no association, or none any more."""
    tls_trouble: str = ""
    """Why TLS failed."""
    connected: bool = False
    aborted_by_peer: bool = False
    rejection: A_ASSOCIATE | None = None
    answered: Dataset | None = None
    """The command set of the last message that came."""
    cut: threading.Timer | None = None

    def opened(self, event: evt.Event) -> None:
        """Put limits on the socket, which pynetdicom leaves without any once it is connected.

        A peer that stops reading, or stops in the middle of a PDU, would else hold the sending thread for ever; one
        that trickles single bytes is cut off after `longest` seconds. TCP_NODELAY: the command and the data are small
        writes, and Nagle's algorithm with the peer's delayed ACK costs 40 ms for each object.
        """
        self.connected = True
        link = event.assoc.dul.socket.socket
        link.settimeout(self.destination.timeout)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.cut = threading.Timer(self.longest, hang_up, [link])
        self.cut.daemon = True
        self.cut.start()

    def tls_arguments(self) -> tuple[ssl.SSLContext, str] | None:
        """Give what pynetdicom needs for TLS; OSError or ValueError where a file can not be used.

        pynetdicom tells its log alone why TLS failed: the socket itself keeps it for us. In TLS 1.3 a certificate of
        ours that the peer does not take is known only when we read.
        """
        tls, line = self.destination.tls, self
        if tls is None:
            return None

        class Socket(ssl.SSLSocket):
            def connect(self, addr: tuple) -> None:
                with line.noting():
                    super().connect(addr)

            def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
                with line.noting():
                    return super().recv(buflen, flags)

        context = client_context(tls.identity, tls.ca_file)
        context.sslsocket_class = Socket
        return context, tls.name or self.destination.host

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Keep what the TLS library complains of."""
        try:
            yield
        except ssl.SSLError as error:
            self.tls_trouble = explain(error)
            raise

    def end(self) -> None:
        """Use the association no more: an answer did not come, or can not be trusted to be for what is asked next.

        `Association.is_established` stays true for a moment after the peer's abort; a request made in that moment
        would wait its whole time for nothing.
        """
        text = f"The association with {self.destination} ended before this object's turn."
        self.trouble = unable(None, text, about=About.NOT_TRIED)

    def received(self, event: evt.Event) -> None:
        """Note the peer's A-ABORT and A-ASSOCIATE-RJ.

        pynetdicom tells an abort from a lost connection in its log only, and forgets a rejection that is there before
        it looks whether it is connected.
        """
        if isinstance(event.pdu, A_ABORT_RQ):
            self.aborted_by_peer = True
        elif isinstance(event.pdu, A_ASSOCIATE_RJ):
            self.rejection = event.pdu.to_primitive()

    def heard(self, event: evt.Event) -> None:
        """Note what a message says it answers: pynetdicom takes any response for the one that is awaited."""
        self.answered = event.message.command_set

    def answers(self, field: int, message_id: int, instance_uid: str) -> bool:
        """Say whether the last message is the response to a request, and about its instance (or none)."""
        said = self.answered or Dataset()
        named = said.get("AffectedSOPInstanceUID") or instance_uid
        return (said.get("CommandField"), said.get("MessageIDBeingRespondedTo"), named) == (
            field,
            message_id,
            instance_uid,
        )


def send(paths: Sequence[Path], destination: Destination, calling_ae_title: str) -> tuple[Outcome, ...]:
    """C-STORE files to a destination over one association.

    A file goes out in its own encoded bytes when the peer takes its transfer syntax; an uncompressed one is encoded
    anew when the peer takes only another uncompressed syntax.

    Parameters
    ----------
    paths : sequence of Path
        DICOM files with file meta information.
    destination : Destination
    calling_ae_title : str
        Our own AE title.

    Returns
    -------
    tuple of Outcome
        One for each path, in their order. Files acknowledged before an association broke are ok, the others can be
        retried. Warnings (0xBxxx) mean "stored": ok. A duplicate (0x0111) is ok too: the peer has that instance.
    """
    outcomes: dict[int, Outcome] = {}
    items: dict[int, _Item] = {}
    for index, path in enumerate(paths):
        found = _read_item(path)
        if isinstance(found, _Item):
            items[index] = found
        else:
            outcomes[index] = found
    if items:
        longest = sum(patience(item.size, destination.timeout) for item in items.values())
        with association(destination, calling_ae_title, _contexts(items.values()), longest) as line:
            for number, (index, item) in enumerate(items.items()):
                outcomes[index] = _store(line, item, number % 0xFFFF + 1)
    return tuple(outcomes[index] for index in range(len(paths)))


def echo(destination: Destination, calling_ae_title: str) -> Outcome:
    """Ask a destination by C-ECHO whether it is there and takes our calls.

    Parameters
    ----------
    destination : Destination
    calling_ae_title : str
        Our own AE title.

    Returns
    -------
    Outcome
        With path None.
    """
    contexts = [build_context(Verification, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])]
    with association(destination, calling_ae_title, contexts, destination.timeout) as line:
        if line.trouble or line.link is None:
            return line.trouble or unable(None, "There is no association.")
        if line.link.rejected_contexts:
            return refusal(None, line.link.rejected_contexts, destination)
        started = time.monotonic()
        try:
            answer = line.link.send_c_echo()
        except (RuntimeError, ValueError):  # the association ended in this very moment
            answer = Dataset()
        if "Status" not in answer:
            return unable(None, silence(line, "the C-ECHO", started, destination.timeout))
        status = int(answer.Status)
        text = f"{destination} answered the C-ECHO with status 0x{status:04X}."
        return Outcome(None, status == 0x0000, status in PERMANENT_STATUSES, status, text)


def _read_item(path: Path) -> _Item | Outcome:
    """Give what negotiation needs to know of a file, or why it can not be sent."""
    try:
        size = path.stat().st_size
        meta = read_file_meta_info(path)
        uids = (meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID)
        item = _Item(path, *map(UID, uids), size)
        build_context(item.sop_class_uid, item.transfer_syntax_uid)
    except FileNotFoundError:
        return unable(path, "The file is missing.", permanent=True)
    except OSError as error:
        return unable(path, f"The file can not be read: {error.strerror}.")
    except InvalidDicomError:
        return unable(path, "The file is not a DICOM file.", permanent=True)
    except Exception as error:  # pydicom fails on a broken header in many ways; their text may quote values
        return unable(path, f"The file's meta information can not be used ({type(error).__name__}).", permanent=True)
    return item


def _contexts(items: Iterable[_Item]) -> list[PresentationContext]:
    """Propose every SOP class with the file's own transfer syntax and with those it can be brought into.

    One context per syntax, so that a peer that takes several can not choose one that makes us encode anew.
    """
    wanted: dict[tuple[UID, UID], None] = {}
    for item in items:
        own = item.transfer_syntax_uid
        others = (ExplicitVRLittleEndian, ImplicitVRLittleEndian) if own in _CONVERTIBLE else ()
        wanted.update(dict.fromkeys((item.sop_class_uid, syntax) for syntax in (own, *others)))
    return [build_context(sop_class, syntax) for sop_class, syntax in list(wanted)[:_MOST_CONTEXTS]]


@contextmanager
def association(
    destination: Destination,
    calling_ae_title: str,
    contexts: list[PresentationContext],
    longest: float,
    handlers: Sequence[tuple] = (),
) -> Iterator[Line]:
    """Open an association, and release it; `trouble` says why there is none.

    Parameters
    ----------
    destination : Destination
    calling_ae_title : str
    contexts : list of PresentationContext
        What to propose.
    longest : float
        Seconds after which the line is cut, whatever trickles in; the time to open and to release is added.
    handlers : sequence of tuple
        More event handlers, as pynetdicom takes them.

    Yields
    ------
    Line
    """
    timeout = destination.timeout
    ae = AE(calling_ae_title)
    ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = timeout
    ae.network_timeout = None  # `Line.opened` bounds every read and write; we never leave an association idle
    line = Line(destination, longest + 3 * timeout)
    started = time.monotonic()
    try:
        tls = line.tls_arguments()
    except (OSError, ValueError) as error:
        text = f"A file for TLS with {destination} can not be used ({type(error).__name__})."
        line.trouble = unable(None, text, about=About.DESTINATION)
        yield line
        return
    try:
        line.link = ae.associate(
            destination.host,
            destination.port,
            contexts,
            ae_title=destination.ae_title,
            max_pdu=_MAX_PDU,
            evt_handlers=[
                (evt.EVT_CONN_OPEN, line.opened),
                (evt.EVT_PDU_RECV, line.received),
                (evt.EVT_DIMSE_RECV, line.heard),
                *handlers,
            ],
            tls_args=tls,
        )
    except OSError as error:
        text = f"{destination} can not be reached: {error.strerror or type(error).__name__}."
        line.trouble = unable(None, text, about=About.DESTINATION)
    else:
        # Where every context was refused pynetdicom aborts; that is not trouble, but an answer for each object.
        if not line.link.is_established and not line.link.rejected_contexts:
            line.trouble = _no_association(line, started)
    try:
        yield line
    finally:
        if line.link and line.link.is_established:
            (line.link.abort if line.trouble else line.link.release)()
        if line.cut:
            line.cut.cancel()


def _no_association(line: Line, started: float) -> Outcome:
    """Say why no association came about."""
    destination, answer = line.destination, line.rejection
    if line.tls_trouble:
        return unable(None, f"No TLS with {destination}: {line.tls_trouble}.", about=About.DESTINATION)
    if not line.connected:
        late = time.monotonic() - started >= destination.timeout
        why = (
            f"no answer within {destination.timeout:g} s"
            if late
            else "refused, or no way there (nothing listens on that port, or a firewall rejects us)"
        )
        return unable(None, f"No connection to {destination}: {why}.", about=About.DESTINATION)
    if answer is not None:
        # Congestion and limits (source 3) pass, whichever of the two results the peer says it with.
        permanent = answer.result == 1 and answer.result_source != 3
        result = "permanent" if answer.result == 1 else "transient"
        text = (
            f"{destination} rejected the association "
            f"({result}; source: {answer.source_str}; reason: {answer.reason_str})."
        )
        return unable(None, text, permanent, About.DESTINATION)
    text = silence(line, "the association request", started, destination.timeout)
    return unable(None, text, about=About.DESTINATION)


def _store(line: Line, item: _Item, message_id: int) -> Outcome:
    """C-STORE one file over an association, if there is one that takes it."""
    own, sop_class = item.transfer_syntax_uid, item.sop_class_uid
    if line.trouble or line.link is None:
        return dataclasses.replace(line.trouble or unable(None, "There is no association."), path=item.path)
    contexts = [context for context in line.link.accepted_contexts if context.abstract_syntax == sop_class]
    accepted = {context.transfer_syntax[0] for context in contexts}
    if own in accepted:
        return _exchange(line, line.link, item.path, item, message_id)
    if own in _CONVERTIBLE and accepted & _CONVERTIBLE:
        try:
            dataset = dcmread(item.path)
        except Exception as error:  # pydicom fails on a bad file in many ways; their text may quote values
            return unable(item.path, f"The file can not be read ({type(error).__name__}).")
        return _exchange(line, line.link, dataset, item, message_id)
    refused = [context for context in line.link.rejected_contexts if context.abstract_syntax == sop_class]
    return _untaken(item, refused, sorted(accepted), line.destination)


def _untaken(
    item: _Item, refused: Sequence[PresentationContext], accepted: Sequence[UID], destination: Destination
) -> Outcome:
    """Say why there is no presentation context for a file."""
    name = item.sop_class_uid.name
    if accepted:  # a peer that "accepts" what nobody proposed
        syntaxes = ", ".join(UID(syntax).name for syntax in accepted)
        return unable(item.path, f"{destination} accepted {name} in {syntaxes}, which was not proposed.")
    if refused:
        return refusal(item.path, refused, destination)
    text = f"{name} did not fit into one association; it goes with the next one."
    return unable(item.path, text, about=About.NOT_TRIED)


def _exchange(line: Line, link: Association, thing: Path | Dataset, item: _Item, message_id: int) -> Outcome:
    """Make one C-STORE request and wait for its answer."""
    link.dimse_timeout = wait = patience(item.size, line.destination.timeout)
    started = time.monotonic()
    line.answered = None
    try:
        answer = link.send_c_store(thing, message_id)
    except RuntimeError:  # the association ended in this very moment
        answer = Dataset()
    except OSError as error:  # the command may be out already, its data never will be
        line.end()
        return unable(item.path, f"The file can not be read: {error.strerror}.")
    except Exception as error:  # what pynetdicom can not encode
        return unable(item.path, f"The file can not be encoded ({type(error).__name__}).", permanent=True)
    if "Status" not in answer:
        line.end()
        return unable(item.path, silence(line, "the C-STORE", started, wait))
    if not line.answers(_C_STORE_RSP, message_id, item.sop_instance_uid):
        line.end()
        return unable(
            item.path, f"{line.destination} answered another request than the C-STORE: not known to be stored."
        )
    return _answered(item.path, int(answer.Status), line.destination)


def _answered(path: Path, status: int, destination: Destination) -> Outcome:
    """Read a C-STORE status."""
    category = code_to_category(status)
    meaning = STORAGE_SERVICE_CLASS_STATUS.get(status, ("", ""))[1] or category
    text = f"{destination} answered 0x{status:04X}" + (f" ({meaning})" if meaning else "")
    if category in (STATUS_SUCCESS, STATUS_WARNING):
        return Outcome(path, True, False, status, f"{text}: stored.")
    if status == DUPLICATE_SOP_INSTANCE:
        return Outcome(path, True, False, status, f"{text}: it has the instance already.")
    return Outcome(path, False, status in PERMANENT_STATUSES, status, f"{text}: not stored.")


def refusal(path: Path | None, refused: Sequence[PresentationContext], destination: Destination) -> Outcome:
    """Say that the peer refused every presentation context an object could go by.

    "Abstract syntax not supported" (3) and "transfer syntaxes not supported" (4) last until someone changes the
    peer's settings; "user rejection" (1) and "no reason" (2) may pass (PS3.8 Table 9-18).
    """
    reasons = {1: "user rejection", 2: "no reason", 3: "SOP class not supported", 4: "transfer syntax not supported"}
    results = {context.result or 2 for context in refused}
    why = ", ".join(reasons.get(result, f"result {result}") for result in sorted(results))
    text = f"{destination} does not take {UID(str(refused[0].abstract_syntax)).name}: {why}."
    return unable(path, text, permanent=results <= {3, 4})


def silence(line: Line, request: str, started: float, limit: float) -> str:
    """Say why no answer came."""
    if line.aborted_by_peer:
        return f"{line.destination} aborted the association before it answered {request}."
    if time.monotonic() - started >= limit:
        return f"{line.destination} did not answer {request} within {limit:.3g} s."
    return f"The connection to {line.destination} was lost before {request} was answered."
