"""What the tests of this room send, and a PACS whose answers they choose."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid
from pynetdicom import AE, evt

from tests.harness.peers import make_object


@pytest.fixture
def objects(tmp_path: Path) -> list[Path]:
    """Three secondary captures of one study."""
    study = generate_uid()
    return [make_object(tmp_path / f"{number}.dcm", study=study) for number in range(3)]


@pytest.fixture
def scp() -> Iterator[Callable[..., int]]:
    """Give a function that starts a pynetdicom SCP and gives its port."""
    servers = []

    def start(
        on_store: Callable[[evt.Event], int] = lambda event: 0x0000,
        sop_classes: Sequence[str] = (SecondaryCaptureImageStorage,),
        syntaxes: Sequence[str] = (ExplicitVRLittleEndian, ImplicitVRLittleEndian),
        on_request: Callable[[evt.Event], None] | None = None,
        on_echo: Callable[[evt.Event], int] = lambda event: 0x0000,
    ) -> int:
        ae = AE("PACS")
        for sop_class in sop_classes:
            ae.add_supported_context(sop_class, list(syntaxes))
        ae.add_supported_context("1.2.840.10008.1.1")
        handlers = [(evt.EVT_C_STORE, on_store), (evt.EVT_C_ECHO, on_echo)]
        if on_request:
            handlers.append((evt.EVT_REQUESTED, on_request))
        servers.append(ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers))
        return servers[-1].server_address[1]

    yield start
    for server in servers:  # socketserver takes half a second to notice
        threading.Thread(target=server.shutdown, daemon=True).start()
