"""The listener: an AE that answers C-ECHO and C-STORE. Success is answered only for what is durable in the spool."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from errno import EADDRINUSE
from pathlib import Path
from typing import Any, cast

from pydicom.dataset import Dataset
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)
from pynetdicom import AE, AllStoragePresentationContexts, _config, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made when pynetdicom is imported

from scarnode.dicom.scp.access import AccessPolicy, Listener
from scarnode.dicom.scp.commitment import Reporters, commitment_handlers
from scarnode.dicom.scp.limits import MAXIMUM_PDU_LENGTH
from scarnode.dicom.scp.store_handler import SUCCESS, StoreHandler, StoreObserver
from scarnode.dicom.spool.incoming import Incoming
from scarnode.dicom.spool.spool import Spool
from scarnode.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from scarnode.util.clock import use_monotonic_association_timers
from scarnode.util.errors import ScarnodeError

log = logging.getLogger(__name__)

# What pynetdicom says of each PDU is below the log's level (`scarnode.util.logs`), yet put together: 1 ms an
# association.
_config.LOG_HANDLER_LEVEL = "none"

TRANSFER_SYNTAXES = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    JPEG2000Lossless,
    JPEG2000,
    RLELossless,
)
"""What a sender may choose from, for every storage class."""


def listen(
    spool: Spool,
    stored: Callable[[Path], None],
    ae_title: str,
    host: str,
    port: int,
    access_policy: AccessPolicy | None = None,
    tls: ssl.SSLContext | None = None,
    reporters: Reporters | None = None,
    observer: StoreObserver | None = None,
    direct: bool = True,
) -> Listener:
    """Open the AE's port and serve associations in the background until ``shutdown()``.

    Parameters
    ----------
    spool : Spool
    stored : callable
        Called with the path of every instance after it is durable, before Success is answered. Must be quick.
    ae_title : str
        Our AE title; an association that calls another one is rejected.
    host, port
        Address to listen on.
    door : Door, optional
        Who may associate, and within which limits; shared where there are two ports. None: anyone, usual limits.
    tls : ssl.SSLContext, optional
        Of a port that speaks TLS (`scarnode.dicom.tls.server_context`).
    reporters : Reporters, optional
        Who may report on storage commitments; None: nobody.
    observer : StoreObserver, optional
        Takes note of what came from whom.
    direct : bool
        C-STOREs take the short way (`FastStoreHandler`); False: through pynetdicom.

    Returns
    -------
    Listener

    Raises
    ------
    ScarnodeError
        The port is in use, or the address can not be bound.
    """
    use_monotonic_association_timers()
    access_policy = access_policy or AccessPolicy()
    entity = AE(ae_title)
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    entity.maximum_pdu_size = MAXIMUM_PDU_LENGTH
    entity.acse_timeout = access_policy.limits.request_timeout
    entity.network_timeout = None  # the door and its lines keep the time
    entity.maximum_associations = access_policy.limits.max_associations
    entity.add_supported_context(Verification)
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(str(context.abstract_syntax), list(TRANSFER_SYNTAXES))
    store_handler = StoreHandler(spool, stored, observer)
    handlers: list[Any] = [
        (evt.EVT_C_ECHO, _echo),
        (evt.EVT_C_STORE, _store, [store_handler]),
        *commitment_handlers(reporters),
    ]
    try:
        server = cast(
            Listener,
            entity.make_server(
                (host, port),
                evt_handlers=handlers,
                server_class=Listener,
                access_policy=access_policy,
                tls=tls,
                store_handler=store_handler if direct else None,
            ),
        )
    except OSError as error:
        reason = "the port is in use" if error.errno == EADDRINUSE else f"can not listen there ({error.strerror})"
        raise ScarnodeError(
            reason,
            f"{host}:{port}",
            "Stop the other program, or set [node] host and port (or [tls] port) in config.ini",
        ) from None
    server.start()
    return server


def _echo(_event: Event) -> int:
    return SUCCESS


def _store(event: Event, store_handler: StoreHandler) -> int | Dataset:
    """Make one instance durable, then answer (where the short way did not take it)."""
    request = cast(C_STORE, event.request)
    incoming = Incoming(
        sop_class_uid=str(request.AffectedSOPClassUID),
        sop_instance_uid=str(request.AffectedSOPInstanceUID),
        transfer_syntax_uid=str(event.context.transfer_syntax),
        calling_ae=event.assoc.requestor.ae_title,
        called_ae=event.assoc.acceptor.ae_title,
        dataset=event.encoded_dataset(include_meta=False),
    )
    status, comment = store_handler.put(incoming, event.assoc)
    if not comment:
        return status
    answer = Dataset()
    answer.Status, answer.ErrorComment = status, comment
    return answer
