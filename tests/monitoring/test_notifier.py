"""The notifier: at least once, at most once an hour, whatever the server or the node does."""

from __future__ import annotations

import json

import pytest

from scarnode.config import NotifySection, Settings
from scarnode.ledger import queries
from scarnode.ledger.ledger import Ledger
from scarnode.monitoring import Message, Sending, notifier
from scarnode.monitoring.notifier import PAUSE, Notifier
from tests.harness.clock import ManualClock
from tests.harness.web import http, web_server


class Channel:
    """Takes messages, or does not."""

    def __init__(self):
        self.messages: list[Message] = []
        self.answer = Sending(True)

    def send(self, message: Message) -> Sending:
        if self.answer.ok:
            self.messages.append(message)
        return self.answer

    def told(self) -> list[tuple[str, str, int]]:
        """Give what came since the last call."""
        found = [
            (notice.alarm, "standing" if notice.cleared_at is None else "over", notice.times)
            for message in self.messages
            for notice in message.notices
        ]
        self.messages.clear()
        return found


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def channel(monkeypatch):
    channel = Channel()
    monkeypatch.setattr(notifier, "channel_of", lambda settings, name: channel)
    monkeypatch.setattr(notifier, "FIRST_DELAY", 1e-9)
    monkeypatch.setattr(notifier, "LONGEST_DELAY", 1e-9)
    return channel


@pytest.fixture
def ledger(tmp_path, clock):
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}", actor="test", clock=clock)
    yield ledger
    ledger.close()


def started(ledger: Ledger) -> Notifier:
    return Notifier(ledger, "mail", Settings)


def test_raised_and_cleared_are_each_told_once(ledger, channel, clock):
    ours = started(ledger)
    ours.look()
    ledger.alarms.raise_alarm("disk_spool", "full")
    for _ in range(3):
        ours.look()
    assert channel.told() == [("disk_spool", "standing", 1)]
    ledger.alarms.clear_alarm("disk_spool")
    clock.now += PAUSE
    for _ in range(3):
        ours.look()
    assert channel.told() == [("disk_spool", "over", 0)]


def test_what_happens_within_the_pause_is_one_line_of_the_next_message(ledger, channel, clock):
    ours = started(ledger)
    ledger.alarms.raise_alarm("disk_spool", "full")
    ours.look()
    channel.told()
    for _ in range(5):
        ledger.alarms.clear_alarm("disk_spool")
        ledger.alarms.raise_alarm("disk_spool", "full again")
    clock.now += PAUSE - 1
    ours.look()
    assert channel.told() == []
    ledger.alarms.raise_alarm("queue_age", "slow")
    ours.look()
    assert channel.told() == [("queue_age", "standing", 1)], "another alarm has a pause of its own"
    clock.now += 1
    ours.look()
    assert channel.told() == [("disk_spool", "standing", 5)]


def test_an_alarm_that_came_and_went_unseen_is_told(ledger, channel, clock):
    ours = started(ledger)
    ours.look()
    ledger.alarms.raise_alarm("worker_0", "gone")
    ledger.alarms.clear_alarm("worker_0")
    ours.look()
    assert channel.told() == [("worker_0", "over", 1)]


def test_a_server_that_is_away_delays_and_loses_nothing(ledger, channel, clock):
    ours = started(ledger)
    ledger.alarms.raise_alarm("disk_spool", "full")
    channel.answer = Sending(False, "mail: away.")
    for _ in range(4):
        ours.look()
    assert [row.name for row in queries.list_alarms(ledger)] == ["notify_mail", "disk_spool"]
    ledger.alarms.clear_alarm("disk_spool")
    channel.answer = Sending(True)
    ours.look()
    assert channel.told() == [("disk_spool", "over", 1)]
    assert queries.list_alarms(ledger) == [], "and people are reached again"
    assert (ours.sent, ours.failed) == (1, 4)


def test_a_crash_between_sending_and_noting_tells_it_again(ledger, channel, clock, monkeypatch):
    ours = started(ledger)
    ledger.alarms.raise_alarm("disk_spool", "full")
    with monkeypatch.context() as crash:
        crash.setattr(ledger.notifications, "mark_notified", lambda *_: (_ for _ in ()).throw(RuntimeError))
        with pytest.raises(RuntimeError):
            ours.look()
    first = channel.messages[:]
    channel.told()
    started(ledger).look()
    assert channel.messages == first, "word for word: under the same Message-ID"


def test_a_restart_tells_nothing_twice_and_keeps_the_pause(ledger, channel, clock):
    ours = started(ledger)
    ledger.alarms.raise_alarm("disk_spool", "full")
    ours.look()
    channel.told()
    ledger.alarms.clear_alarm("disk_spool")
    again = started(ledger)
    again.look()
    assert channel.told() == []
    clock.now += PAUSE
    again.look()
    assert channel.told() == [("disk_spool", "over", 0)]
    clock.now -= 10 * PAUSE  # the next start's clock is another one
    ledger.alarms.raise_alarm("disk_spool", "full")
    started(ledger).look()
    assert channel.told() == [("disk_spool", "standing", 1)]


def test_a_new_channel_is_told_of_what_stands_only(ledger, channel, clock):
    for _ in range(3):
        ledger.alarms.raise_alarm("queue_age", "slow")
        ledger.alarms.clear_alarm("queue_age")
    ledger.alarms.raise_alarm("disk_spool", "full")
    ledger.alarms.raise_alarm("audit_repository", "away")
    ledger.alarms.clear_alarm("audit_repository")
    ours = started(ledger)
    ours.look()
    assert [name for name, _, _ in channel.told()] == ["disk_spool", "audit_repository"]
    # the second came after one that stands: whether it was seen can not be known


def test_a_partly_refused_message_is_told_of_by_an_alarm(ledger, channel, clock):
    channel.answer = Sending(True, "mail: 1 of 2 recipients refused (550).")
    ledger.alarms.raise_alarm("disk_spool", "full")
    started(ledger).look()
    assert [row.name for row in queries.list_alarms(ledger)] == ["notify_mail", "disk_spool"]


def test_without_a_channel_nothing_is_written(ledger):
    ledger.alarms.raise_alarm("disk_spool", "full")
    ours = started(ledger)
    ours.look()
    ours.look()
    assert (ours.sent, ours.failed) == (0, 0)
    assert ledger.notifications.due_notices("mail", PAUSE), "and it will be told once there is one"


def test_two_channels_do_not_wait_for_each_other(ledger):
    requests: list[bytes] = []
    ledger.alarms.raise_alarm("disk_spool", "full")
    with web_server(http(200), requests=requests) as port:
        notify = NotifySection(
            mail_server="smtp://127.0.0.1:1",
            mail_from="a@b.c",
            mail_to="d@e.f",
            webhook_url=f"http://127.0.0.1:{port}",
        )
        both = [Notifier(ledger, name, lambda: Settings(notify=notify)) for name in ("mail", "webhook")]
        for one in both:
            one.look()
    assert [(one.sent, one.failed) for one in both] == [(0, 1), (1, 0)]
    assert json.loads(requests[0].partition(b"\r\n\r\n")[2])["alarms"][0]["name"] == "disk_spool"
