"""Mail and webhook against real servers: what arrives, and what is said where nothing does."""

from __future__ import annotations

import json
import logging
import time

import pytest

from scarnode.config.channels import MailServer, Webhook
from scarnode.ledger.model import Notice
from scarnode.monitoring import Message
from scarnode.monitoring.mail import MailChannel
from scarnode.monitoring.webhook import SIGNATURE, WebhookChannel, sign
from tests.harness.mail import mail_server
from tests.harness.peers import raw_peer
from tests.harness.tools import free_port
from tests.harness.web import http, web_server

STANDS = Notice("failed_jobs", 3, 1_700_000_000.0, None, 2, "1 failed for good: job 7")
OVER = Notice("disk_spool", 2, 1_700_000_000.0, 1_700_000_060.0, 1, "spool: 1 GB free")
MESSAGE = Message("SCARNODE", "node1", (STANDS, OVER), "https://node1:8104")


def server(port: int, scheme: str = "smtp", **more) -> MailChannel:
    people = ("a@example.org", "b@example.org")
    return MailChannel(MailServer(scheme, "127.0.0.1", port, "node@example.org", people, **more))


def test_a_mail_says_which_alarms_stand_and_which_are_over():
    with mail_server() as box:
        assert server(box.port).send(MESSAGE).ok
    [mail] = box.mails
    assert box.recipients == [["a@example.org", "b@example.org"]]
    assert mail["Subject"] == "[scarnode] SCARNODE on node1: alarm failed_jobs; over: disk_spool"
    assert mail["Auto-Submitted"] == "auto-generated"
    body = mail.get_content()
    assert "ALARM failed_jobs, since 2023-11-14T22:13:20Z, raised 2 times since the last message" in body
    assert "  1 failed for good: job 7" in body
    assert "OVER disk_spool, 2023-11-14T22:13:20Z to 2023-11-14T22:14:20Z" in body
    assert "https://node1:8104" in body


@pytest.mark.parametrize("how", ["starttls", "smtps"])
def test_by_tls_with_user_and_password(authority, how):
    theirs = authority.issue("mail")
    with mail_server(theirs, how, "node", "geheim") as box:
        known = {"user": "node", "password": "geheim", "ca_file": authority.ca_file}
        assert server(box.port, how, **known).send(MESSAGE).trouble == ""
        wrong = server(box.port, how, **{**known, "password": "falsch"}).send(MESSAGE)
        assert not wrong.ok
        assert "user or password not accepted: 535" in wrong.trouble
        assert "falsch" not in wrong.trouble
        stranger = server(box.port, how, user="node", password="geheim").send(MESSAGE)
        assert "TLS failed: its certificate is not accepted" in stranger.trouble
    assert box.by_tls == [True]
    assert "geheim" not in repr(server(1, how, **known))


def test_a_server_without_starttls_gets_nothing():
    with mail_server() as box:
        sending = server(box.port, "starttls").send(MESSAGE)
    assert not sending.ok
    assert "does not offer" in sending.trouble
    assert not box.mails


def test_a_recipient_who_is_refused_keeps_no_other_from_the_message():
    with mail_server() as box:
        box.refuse = "a@example.org"
        sending = server(box.port).send(MESSAGE)
    assert sending.ok
    assert "1 of 2 recipients refused (550)" in sending.trouble
    assert box.recipients == [["b@example.org"]]


def test_a_mail_server_that_is_away_hangs_or_trickles():
    away = server(free_port()).send(MESSAGE)
    assert (away.ok, "no connection" in away.trouble) == (False, True)

    def trickle(connection):
        while True:
            connection.sendall(b"2")
            time.sleep(0.1)

    with raw_peer(lambda _: time.sleep(60)) as silent, raw_peer(trickle) as slow:
        start = time.monotonic()
        hung = server(silent, timeout=0.3).send(MESSAGE)
        assert "no answer within 0.3 s" in hung.trouble
        trickled = server(slow, timeout=0.3).send(MESSAGE)
        assert "longer than 0.9 s" in trickled.trouble
        assert time.monotonic() - start < 5


def test_a_webhook_gets_signed_json(caplog):
    caplog.set_level(logging.DEBUG)
    requests: list[bytes] = []
    with web_server(http(204), requests=requests) as port:
        assert WebhookChannel(Webhook(f"http://127.0.0.1:{port}/hook?x=1", "geheim")).send(MESSAGE).ok
    head, _, body = requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /hook?x=1 HTTP/1.1")
    assert f"{SIGNATURE}: {sign(body, 'geheim')}".encode() in head
    assert "hook?x=1" not in caplog.text  # an address may hold a secret
    told = json.loads(body)
    assert (told["node"], told["host"], told["test"]) == ("SCARNODE", "node1", False)
    assert told["alarms"][0] == {
        "name": "failed_jobs",
        "state": "standing",
        "raised_at": "2023-11-14T22:13:20Z",
        "cleared_at": None,
        "times": 2,
        "detail": "1 failed for good: job 7",
    }
    assert told["alarms"][1]["state"] == "over"


def test_the_signature_is_that_of_rfc_4231():
    """Test case 2."""
    expected = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert sign(b"what do ya want for nothing?", "Jefe") == expected


def test_what_a_webhook_that_does_not_take_it_is_said_to_have_done(authority):
    moved = http(302, Location="http://127.0.0.1:1/")
    with web_server(http(500), moved) as port:
        hook = WebhookChannel(Webhook(f"http://127.0.0.1:{port}/?key=geheim"))
        assert "status 500" in hook.send(MESSAGE).trouble
        assert "status 302" in hook.send(MESSAGE).trouble
    away = WebhookChannel(Webhook(f"https://127.0.0.1:{free_port()}/?key=geheim")).send(MESSAGE)
    assert "no connection" in away.trouble
    assert "geheim" not in away.trouble
    with raw_peer(lambda _: time.sleep(60)) as silent:
        assert (
            "no answer within 0.3 s"
            in WebhookChannel(Webhook(f"http://127.0.0.1:{silent}", timeout=0.3)).send(MESSAGE).trouble
        )
        assert not WebhookChannel(Webhook(f"https://127.0.0.1:{silent}", timeout=0.3)).send(MESSAGE).ok


def test_a_webhook_by_tls(authority, tls_server):
    assert WebhookChannel(Webhook(f"https://127.0.0.1:{tls_server}", ca_file=authority.ca_file)).send(MESSAGE).ok
    assert (
        "its certificate is not accepted"
        in WebhookChannel(Webhook(f"https://127.0.0.1:{tls_server}")).send(MESSAGE).trouble
    )


@pytest.fixture
def tls_server(authority):
    import ssl

    from tests.harness.web import read_request

    ours = authority.issue("hook")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ours.certificate, ours.private_key)

    def talk(connection):
        with context.wrap_socket(connection, server_side=True) as link:
            read_request(link)
            link.sendall(http(200))

    with raw_peer(talk) as port:
        yield port
