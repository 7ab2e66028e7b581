"""An archive whose every answer to C-FIND, C-MOVE and C-GET is chosen by the test, over pynetdicom."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import (
    MRImageStorage,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from scarnode.dicom.query import Archive
from scarnode.dicom.scu import RemoteAE

MODELS = {
    evt.EVT_C_FIND: StudyRootQueryRetrieveInformationModelFind,
    evt.EVT_C_MOVE: StudyRootQueryRetrieveInformationModelMove,
    evt.EVT_C_GET: StudyRootQueryRetrieveInformationModelGet,
}


@contextmanager
def fake_archive(
    find: Callable[..., Any] | None = None,
    move: Callable[..., Any] | None = None,
    get: Callable[..., Any] | None = None,
    how: str = "move",
    timeout: float = 5.0,
    **more: Any,
) -> Iterator[Archive]:
    """Run an archive that takes what there is a handler for."""
    ae = AE("ARCHIVE")
    handlers = []
    for event, handler in ((evt.EVT_C_FIND, find), (evt.EVT_C_MOVE, move), (evt.EVT_C_GET, get)):
        if handler:
            ae.add_supported_context(MODELS[event])
            handlers.append((event, handler))
    if get:
        ae.add_supported_context(MRImageStorage, ExplicitVRLittleEndian, scu_role=False, scp_role=True)
    ae.add_requested_context(MRImageStorage, ExplicitVRLittleEndian)
    ae.add_supported_context("1.2.840.10008.1.1")
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        peer = RemoteAE("127.0.0.1", server.server_address[1], "ARCHIVE", timeout=timeout)
        yield Archive("fake", peer, how, **more)
    finally:
        for association in server.active_associations:
            association.abort()
        threading.Thread(target=server.shutdown, daemon=True).start()


@contextmanager
def fake_node(store: Callable[[evt.Event], int]) -> Iterator[RemoteAE]:
    """Run what takes images in the place of the node."""
    ae = AE("SCARNODE")
    for context in AllStoragePresentationContexts:
        ae.add_supported_context(context.abstract_syntax, ExplicitVRLittleEndian)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    try:
        yield RemoteAE("127.0.0.1", server.server_address[1], "SCARNODE", timeout=5)
    finally:
        for association in server.active_associations:
            association.abort()
        threading.Thread(target=server.shutdown, daemon=True).start()


def answer(level: str = "STUDY", **values: Any) -> Dataset:
    """Give an answer to a C-FIND."""
    dataset = Dataset()
    dataset.QueryRetrieveLevel = level
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset
