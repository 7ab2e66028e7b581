"""The broker is a hint: heard at once where it is there, missed by nobody where it is not."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from scarnode.node.cluster import hints
from scarnode.node.cluster.hints import Dispatcher
from scarnode.util.errors import ConfigError
from tests.harness.redis import Redis
from tests.harness.tools import free_port, wait_until


class Ear:
    """What is heard, and what is told of the broker."""

    def __init__(self, url):
        self.heard, self.told = threading.Event(), []
        self.dispatcher = Dispatcher(url, self.told.append)
        self.dispatcher.listen(self.heard.set)


def test_without_a_broker_nothing_is_said_or_heard():
    ear = Ear("")
    ear.dispatcher.announce()
    assert not ear.dispatcher.on
    ear.dispatcher.close()
    assert not ear.heard.is_set()


def test_a_broker_without_what_speaks_to_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "kombu", None)
    with pytest.raises(ConfigError, match=r"pip install scarnode\[cluster\]"):
        Dispatcher("redis://localhost/0", print)


def test_a_broker_that_is_not_there_holds_up_nobody():
    ear = Ear(f"redis://:secret@127.0.0.1:{free_port()}/0")
    begun = time.monotonic()
    ear.dispatcher.announce()
    assert ear.dispatcher.on
    assert time.monotonic() - begun < 0.1
    wait_until(lambda: any(ear.told), 10, "word of the broker")
    assert not any("secret" in told for told in ear.told)
    begun = time.monotonic()
    ear.dispatcher.close()
    assert time.monotonic() - begun < 8


@pytest.mark.slow
def test_all_hear_at_once_and_again_after_the_broker_was_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(hints, "PAUSE", 0.5)
    with Redis(tmp_path) as broker:
        ears = [Ear(broker.url) for _ in range(2)]
        speaker = ears[0].dispatcher

        def hear():
            """Speak until both hear: who listens later hears what is said later."""
            for ear in ears:
                ear.heard.clear()
            wait_until(lambda: speaker.announce() or all(ear.heard.wait(0.1) for ear in ears), 30, "the hint")

        hear()
        time.sleep(0.5)
        for ear in ears:
            ear.heard.clear()
        assert not any(ear.heard.wait(0.5) for ear in ears), "there is nothing new"
        broker.kill()
        speaker.announce()
        wait_until(lambda: all(ear.told and ear.told[-1] for ear in ears), 20, "word of the broker's death")
        broker.start()
        hear()
        wait_until(lambda: all(ear.told[-1] == "" for ear in ears), 20, "word of its return")
        for ear in ears:
            ear.dispatcher.close()
