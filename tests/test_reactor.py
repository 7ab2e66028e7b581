"""pynetdicom's reactor must not take the answers that others wait for."""

from __future__ import annotations

import threading
import time

from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider

from scarnode.deliver import Destination, echo, send
from tests.harness import storescp
from tests.harness.peers import make_object


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
        pacs = Destination("pacs", "127.0.0.1", port, "PACS", timeout=2)
        assert echo(pacs, "SCARNODE").ok
        outcomes = send(files, pacs, "SCARNODE")
    assert all(outcome.ok for outcome in outcomes), outcomes
