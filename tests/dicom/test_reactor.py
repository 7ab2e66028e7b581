"""pynetdicom's reactor must not take the answers that others wait for."""

from __future__ import annotations

import threading
import time

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider

from scarnode.dicom.reactor import held
from scarnode.dicom.scu import RemoteAE, echo, send
from tests.harness import storescp
from tests.harness.archive import Archive
from tests.harness.peers import make_object
from tests.harness.tools import wait_until


class _SlowFlag:
    """`Association._is_paused`, lowered late by the reactor: what a busy machine does now and then, here always."""

    def __get__(self, association, kind=None):
        return association.__dict__["_is_paused"]

    def __set__(self, association, value):
        if not value and threading.current_thread() is association:
            time.sleep(0.1)
        association.__dict__["_is_paused"] = value


def test_an_answer_goes_to_who_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(Association, "_is_paused", _SlowFlag(), raising=False)
    get_message = DIMSEServiceProvider.get_msg

    def get_late(self, block=False):
        if block:
            time.sleep(0.2)
        return get_message(self, block)

    monkeypatch.setattr(DIMSEServiceProvider, "get_msg", get_late)
    files = [make_object(tmp_path / f"{number}.dcm") for number in range(3)]
    with storescp(tmp_path / "in") as port:
        pacs = RemoteAE("127.0.0.1", port, "PACS", timeout=2)
        assert echo(pacs, "SCARNODE").ok
        outcomes = send(files, pacs, "SCARNODE")
    assert all(outcome.ok for outcome in outcomes), outcomes


class _SlowToRead(Dataset):
    """Calls a function once a request has begun to read it: it has looked by then whether there is an association."""

    def __contains__(self, name):
        if "meanwhile" in self.__dict__:
            self.__dict__.pop("meanwhile")()
        return super().__contains__(name)


def test_a_request_that_began_before_the_peer_died_does_not_wait_for_its_answer(tmp_path):
    """The end is told once, and the reactor has taken it: the request waited for its whole time-out, 30 s and more."""
    source = dcmread(make_object(tmp_path / "one.dcm"))
    slow = _SlowToRead(source)
    slow.file_meta, slow._read_implicit, slow._read_little = source.file_meta, False, True
    ae = AE("SCARNODE")
    ae.add_requested_context(source.SOPClassUID, source.file_meta.TransferSyntaxUID)
    ae.dimse_timeout = 20
    with Archive() as pacs:
        link = held(ae.associate(pacs.host, pacs.port, ae_title="ARCHIVE"))
        assert link.is_established

        def meanwhile():
            for peer in pacs._server.active_associations:
                peer.abort()
            wait_until(lambda: not link.is_alive(), 10, "the end of the association")

        slow.__dict__["meanwhile"] = meanwhile
        started = time.monotonic()
        with pytest.raises(RuntimeError, match="ended before the request"):
            link.send_c_store(slow)
        assert time.monotonic() - started < 10
