"""An association with a destination, bounded in time, that says why it failed."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_RJ
from pynetdicom.pdu_primitives import A_ASSOCIATE, SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext

from scarnode.dicom.reactor import held
from scarnode.dicom.scu.destination import About, Outcome, unable
from scarnode.dicom.scu.remote import RemoteAE
from scarnode.dicom.sockets import NO_SOCKET, acknowledge_at_once, close_socket
from scarnode.dicom.tls import client_context, explain
from scarnode.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from scarnode.util.errors import system_fault

_MAX_PDU = 131072
"""What we can receive at once; what we send is bounded by the peer."""


@dataclass
class ClientAssociation:
    """What is known of an association besides what pynetdicom keeps."""

    destination: RemoteAE
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
        own = event.assoc.dul.socket
        if own is None or own.socket is None:  # it ended as it opened
            return
        link = own.socket
        link.settimeout(self.destination.timeout)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.cut = threading.Timer(self.longest, close_socket, [link])
        self.cut.daemon = True
        self.cut.start()

    def sent(self, event: evt.Event) -> None:
        """Acknowledge the answer's first segment at once: the peer may wait for that before it sends the rest."""
        own = event.assoc.dul.socket
        if own is not None and own.socket is not None:
            with suppress(OSError):  # it ended meanwhile
                acknowledge_at_once(own.socket)

    def tls_arguments(self) -> tuple[ssl.SSLContext, str] | None:
        """Return what pynetdicom needs for TLS; OSError or ValueError where a file can not be used.

        pynetdicom tells its log alone why TLS failed: the socket itself keeps it for us. In TLS 1.3 a certificate of
        ours that the peer does not take is known only when we read.
        """
        tls, line = self.destination.tls, self
        if tls is None:
            return None

        class Socket(ssl.SSLSocket):
            def connect(self, addr: Any) -> None:
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
        """Describe whether the last message is the response to a request, and about its instance (or none)."""
        said = self.answered or Dataset()
        named = said.get("AffectedSOPInstanceUID") or instance_uid
        return (said.get("CommandField"), said.get("MessageIDBeingRespondedTo"), named) == (
            field,
            message_id,
            instance_uid,
        )


@contextmanager
def association(
    destination: RemoteAE,
    calling_ae_title: str,
    contexts: list[PresentationContext],
    longest: float,
    handlers: Sequence[tuple] = (),
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
) -> Iterator[ClientAssociation]:
    """Open an association, and release it; `trouble` says why there is none.

    Parameters
    ----------
    destination : RemoteAE
    calling_ae_title : str
    contexts : list of PresentationContext
        What to propose.
    longest : float
        Seconds after which the line is cut, whatever trickles in; the time to open and to release is added.
    handlers : sequence of tuple
        More event handlers, as pynetdicom takes them.
    roles : sequence of SCP_SCU_RoleSelectionNegotiation
        Proposed by role selection, e.g. to be the SCP of a storage class.

    Yields
    ------
    Line
    """
    timeout = destination.timeout
    ae = AE(calling_ae_title)
    ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = timeout
    ae.network_timeout = (
        None  # `ClientAssociation.opened` bounds every read and write; we never leave an association idle
    )
    line = ClientAssociation(destination, longest + 3 * timeout)
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
                (evt.EVT_DATA_SENT, line.sent),
                (evt.EVT_PDU_RECV, line.received),
                (evt.EVT_DIMSE_RECV, line.heard),
                *handlers,
            ],
            ext_neg=list(roles),
            tls_args=tls,
        )
    except OSError as error:
        text = f"{destination} can not be reached: {error.strerror or type(error).__name__}."
        fault = system_fault(error) if error.errno in NO_SOCKET else None
        line.trouble = replace(unable(None, text, about=About.DESTINATION), fault=fault)
    else:
        held(line.link)
        # Where every context was refused pynetdicom aborts; that is not trouble, but an answer for each object.
        if not line.link.is_established and not line.link.rejected_contexts:
            line.trouble = _no_association(line, started)
    try:
        yield line
    finally:
        if line.link and line.link.is_established:
            with suppress(RuntimeError):  # it ends in this very moment
                (line.link.abort if line.trouble else line.link.release)()
        if line.cut:
            line.cut.cancel()


def _no_association(line: ClientAssociation, started: float) -> Outcome:
    """Describe why no association came about."""
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


def refusal(path: Path | None, refused: Sequence[PresentationContext], destination: RemoteAE) -> Outcome:
    """Describe that the peer rejected every presentation context an object could go by.

    "Abstract syntax not supported" (3) and "transfer syntaxes not supported" (4) last until someone changes the
    peer's settings; "user rejection" (1) and "no reason" (2) may pass (PS3.8 Table 9-18).
    """
    reasons = {1: "user rejection", 2: "no reason", 3: "SOP class not supported", 4: "transfer syntax not supported"}
    results = {context.result or 2 for context in refused}
    why = ", ".join(reasons.get(result, f"result {result}") for result in sorted(results))
    text = f"{destination} does not take {UID(str(refused[0].abstract_syntax)).name}: {why}."
    return unable(path, text, permanent=results <= {3, 4})


def silence(line: ClientAssociation, request: str, started: float, limit: float) -> str:
    """Describe why no answer came."""
    if line.aborted_by_peer:
        return f"{line.destination} aborted the association before it answered {request}."
    if time.monotonic() - started >= limit:
        return f"{line.destination} did not answer {request} within {limit:.3g} s."
    return f"The connection to {line.destination} was lost before {request} was answered."
