"""What strangers may do to the pages: guess, flood, and keep connections open. Who has a right to come in does."""

from __future__ import annotations

import socket
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event

import pytest
import requests
from fastapi import APIRouter, FastAPI

from scarnode.config import Settings, TlsSection, WebSection, accounts
from scarnode.web import WebServer, connections, links, throttle
from scarnode.web.app import make_app
from scarnode.web.monitoring import monitoring_router
from scarnode.web.throttle import LIMITS, MOST_BY_ADDRESS, MOST_BY_NAME, WINDOW_SECONDS, Throttle, network_of
from tests.harness.tools import free_port, wait_until
from tests.web.site import ADMIN, Site, served, site_settings

HELD = 70
"""Connections that an attacker keeps open."""


@pytest.fixture
def cheap(monkeypatch):
    """Make a password's check take no time: no hash fits then."""
    monkeypatch.setattr(accounts, "COST", 2)


def guess(site: Site, number: int, name: str = ADMIN[0], address: str = "") -> int:
    """Try a wrong password, through a proxy where an address is given; give the status."""
    through = {"X-Forwarded-For": address, "X-Forwarded-Proto": "https"} if address else {}
    origin = site.address.replace("http:", "https:") if address else site.address
    headers = {"Origin": origin, **through}
    words = {"name": name, "password": f"guess {number}"}
    return requests.post(site.address + "/api/login", json=words, headers=headers, timeout=60).status_code


# -- guessing ----------------------------------------------------------------------------------------------------------


def test_wrong_codes_lock_out_nobody_who_has_a_right_one(tmp_path: Path):
    with served(tmp_path) as site:
        browser = site.anybody()
        statuses = Counter(
            browser.post(site.address + "/login", data={"code": f"{number:043}"}, timeout=20).status_code
            for number in range(MOST_BY_ADDRESS + 10)
        )
        assert statuses == {401: MOST_BY_ADDRESS, 429: 10}
        code = links.make_code(links.link_folder(site.settings), "root")
        assert "root, admin" in browser.post(site.address + "/login", data={"code": code}, timeout=20).text
        assert browser.post(site.address + "/login", data={"code": code}, timeout=20).status_code == 429  # used up


def test_wrong_passwords_of_an_address_do_not_stop_its_code(tmp_path: Path, cheap):
    with served(tmp_path) as site:
        for number in range(MOST_BY_ADDRESS + 1):
            guess(site, number, f"name{number}")
        assert guess(site, 0, "another") == 429
        code = links.make_code(links.link_folder(site.settings), "root")
        assert "root, admin" in site.anybody().post(site.address + "/login", data={"code": code}, timeout=20).text


def test_passwords_tried_at_once_are_not_more_than_one_after_the_other(tmp_path: Path):
    with served(tmp_path) as site, ThreadPoolExecutor(40) as threads:
        statuses = Counter(threads.map(lambda number: guess(site, number), range(40)))
        assert statuses == {401: MOST_BY_NAME, 429: 40 - MOST_BY_NAME}


def test_pages_and_codes_do_not_wait_for_passwords(tmp_path: Path, monkeypatch):
    checking, go_on = Event(), Event()

    def slow(*_: object) -> bytes:
        checking.set()
        go_on.wait(20)
        return b"?" * 32

    with served(tmp_path) as site, ThreadPoolExecutor(12) as threads:
        browser, code = site.browser(), links.make_code(links.link_folder(site.settings), "root")
        monkeypatch.setattr(accounts, "_scrypt", slow)
        tries = [threads.submit(guess, site, number, f"name{number}") for number in range(12)]
        checking.wait(20)
        time.sleep(0.2)
        try:
            assert browser.get(site.address + "/", timeout=5).status_code == 200
            assert "root, admin" in site.anybody().post(site.address + "/login", data={"code": code}, timeout=5).text
        finally:
            go_on.set()
        assert {one.result() for one in tries} == {401}


def test_junk_names_from_many_addresses_do_not_make_it_forget_a_lock(tmp_path: Path, cheap):
    with served(tmp_path, proxy="127.0.0.1") as site:
        assert [guess(site, number, address="10.0.0.1") for number in range(MOST_BY_NAME + 1)][-1] == 429
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda n: guess(site, n, f"junk{n}", f"10.1.{n // 250}.{n % 250}"), range(520)))
        assert guess(site, 99, address="10.0.0.2") == 429


def test_memory_of_wrong_passwords_is_bounded_and_forgets_no_lock(monkeypatch):
    monkeypatch.setattr(throttle, "MOST_KEPT", 100)
    now = [0.0]
    counts, ada = Throttle(lambda: now[0]), ("name", "ada")
    locked = [ada, *(("name", f"locked{number}") for number in range(20))]
    for key in locked * MOST_BY_NAME:
        assert counts.begin([key], [ada]) == 0
        counts.end([key], right=False)
    for number in range(1000):
        now[0] += 0.001
        assert counts.begin([("name", f"junk{number}"), ("address", str(number))], [ada]) == 0
        counts.end([("name", f"junk{number}"), ("address", str(number))], right=False)
    assert len(counts._tries) <= 102
    assert all(counts.begin([key]) > 0 for key in locked)
    now[0] = WINDOW_SECONDS + 2
    assert counts.begin([ada]) == 0


def test_the_throttle_counts_before_and_forgets_after():
    now = [0.0]
    counts, from_there = Throttle(lambda: now[0]), ("address", "10.0.0.1")
    for _ in range(LIMITS["address"]):
        assert counts.begin([from_there]) == 0
    assert counts.begin([from_there]) == 1  # all of them are being checked
    counts.end([from_there], right=True)
    assert counts.begin([from_there]) == 0  # one was right
    for _ in range(LIMITS["address"]):
        counts.end([from_there], right=False)
    assert counts.begin([from_there]) == WINDOW_SECONDS
    assert counts.begin([("address", "10.0.0.2")]) == 0
    now[0] = WINDOW_SECONDS
    assert counts.begin([from_there]) == 0


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("::1", "::1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::7", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "(no address)"),
        ("", "(no address)"),
        ("1" * 5000, "(no address)"),
    ],
)
def test_what_counts_as_one_address(address: str, network: str):
    assert network_of(address) == network


def test_an_ipv6_network_is_one_address(tmp_path: Path, cheap):
    with served(tmp_path, proxy="127.0.0.1") as site:
        statuses = [guess(site, n, f"name{n}", f"2001:db8::{n:x}") for n in range(1, MOST_BY_ADDRESS + 2)]
        assert statuses[-2:] == [401, 429]


# -- connections that are kept open ------------------------------------------------------------------------------------


@contextmanager
def node_pages(folder: Path, **web: object) -> Iterator[str]:
    """Serve pages with metrics and health, as the node does; give the address."""
    from scarnode.ledger.ledger import Ledger

    settings = site_settings(folder, **web)
    router = monitoring_router(lambda: b"scarnode_up 1\n", list)
    server = WebServer(make_app(settings, Ledger(settings.ledger.url, actor="web"), [router]), settings)
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.stop()


def connect(address: str, sends: bytes = b"") -> socket.socket:
    """Open a connection and send the beginning of something."""
    port = int(address.rpartition(":")[2])
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.sendall(sends)
    return connection


def all_answered(address: str) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/login"):
        got = requests.get(address + path, timeout=5)
        assert (got.status_code, path) == (200, path)


POST = b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nSec-Fetch-Site: same-origin\r\n"
POST += b"Content-Type: application/x-www-form-urlencoded\r\n"
HALVES = {
    "nothing": b"",
    "a line": b"GET /healthz HTTP/1.1\r\n",
    "a header": b"GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: b\r\n",
    "of HTTP/1.0": b"GET /login HTTP/1.0\r\nHost: 127.0.0.1\r\n",
    "a body": POST + b"Content-Length: 50\r\n\r\nname=a",
    "a chunked body": POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nnam\r\n",
    "a body that is waited for": POST + b"Content-Length: 50\r\nExpect: 100-continue\r\n\r\n",
    "a second request": b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /login HTTP/1.1\r\nHo",
    "the body of what is answered": b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 50\r\n\r\nab",
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    with node_pages(tmp_path_factory.mktemp("pages")) as address:
        yield address


@pytest.mark.parametrize("half", HALVES)
def test_half_open_requests_take_nobodys_room(pages: str, half: str):
    with ExitStack() as held:
        for _ in range(HELD):
            held.enter_context(connect(pages, HALVES[half]))
        time.sleep(0.2)
        all_answered(pages)
        all_answered(pages)


@pytest.mark.parametrize("half", HALVES)
def test_a_request_that_does_not_come_is_not_waited_for(pages: str, monkeypatch, half: str):
    for name in ("HEADER_SECONDS", "BODY_SECONDS"):
        monkeypatch.setattr(connections, name, 0.6)
    with connect(pages, HALVES[half]) as connection:
        begun = time.monotonic()
        while connection_lives(connection):
            if "body" not in half and "second" not in half:  # a byte now and then does not put it off
                trickle(connection)
            assert time.monotonic() - begun < 4


def connection_lives(connection: socket.socket) -> bool:
    connection.settimeout(0.2)
    try:
        return bool(connection.recv(65536))
    except TimeoutError:
        return True
    except OSError:
        return False


def trickle(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.sendall(b"x")


def test_an_endless_body_is_cut_off(pages: str, monkeypatch):
    monkeypatch.setattr(connections, "BODY_SECONDS", 0.6)
    with connect(pages, POST + b"Transfer-Encoding: chunked\r\n\r\n") as connection:
        begun = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - begun < 5:
                connection.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
                time.sleep(0.001)


def test_an_answer_that_nobody_reads_is_not_kept(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(connections, "READING_SECONDS", 0.6)
    router, app = APIRouter(), FastAPI()

    @router.get("/large")
    def large() -> str:
        return "x" * 50_000_000

    app.include_router(router)
    server = WebServer(app, Settings(web=WebSection(port=free_port())))
    try:
        with connect(
            f"http://127.0.0.1:{server.port}", b"GET /large HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        ) as connection:
            time.sleep(2.5)
            got = 0
            with pytest.raises(ConnectionError):
                while piece := connection.recv(1 << 20):
                    got += len(piece)
                raise ConnectionError
            assert got < 50_000_000
    finally:
        server.stop()


def test_handshakes_that_hang_take_nobodys_room(authority, monkeypatch):
    made = authority.issue("127.0.0.1")
    tls = TlsSection(certificate=made.certificate, private_key=made.private_key)
    app = FastAPI()
    app.include_router(monitoring_router(lambda: b"", list))
    server = WebServer(app, Settings(web=WebSection(port=free_port(), tls=True), tls=tls))
    address = f"https://127.0.0.1:{server.port}/healthz"
    try:
        with ExitStack() as held:
            silent = [held.enter_context(connect(address.removesuffix("/healthz"))) for _ in range(HELD)]
            shaken = ssl.create_default_context(cafile=str(authority.ca_file))
            for _ in range(HELD):  # shook hands, and say nothing
                plain = connect(address.removesuffix("/healthz"))
                held.enter_context(shaken.wrap_socket(plain, server_hostname="127.0.0.1"))
            for _ in range(3):
                assert requests.get(address, verify=str(authority.ca_file), timeout=5).text == "ok\n"
            assert not connection_lives(silent[0])  # made room
        monkeypatch.setattr(connections, "HANDSHAKE_SECONDS", 0.6)
        with connect(address.removesuffix("/healthz"), b"\x16\x03\x01") as connection:
            wait_until(lambda: not connection_lives(connection), 5, "the end of the connection")
    finally:
        server.stop()


def test_large_headers_are_refused(pages: str):
    for header in ({"X-A": "a" * 70_000}, {f"X-{number}": "a" * 100 for number in range(700)}):
        with suppress(requests.ConnectionError):  # it was refused before all of it was sent
            assert requests.get(pages + "/login", headers=header, timeout=10).status_code in (400, 431)
    assert requests.get(pages + "/login", headers={"Cookie": "other=" + "a" * 16_000}, timeout=10).status_code == 200
    all_answered(pages)


def test_health_is_told_to_a_load_balancer_that_names_no_host(pages: str):
    for path, status in ((b"/healthz", b"200"), (b"/login", b"400")):
        with connect(pages, b"GET " + path + b" HTTP/1.0\r\n\r\n") as connection:
            assert connection.recv(65536).split()[1] == status


def test_one_address_does_not_take_the_room_of_others(pages: str, monkeypatch):
    """Of a full house the busiest address makes room, and a quiet one keeps its connection."""
    monkeypatch.setattr(connections, "MOST", 40)
    monkeypatch.setattr(connections, "MOST_OF_ADDRESS", 30)
    port = int(pages.rpartition(":")[2])
    with ExitStack() as held:
        quiet = held.enter_context(socket.create_connection(("127.0.0.1", port), 5, ("127.0.0.9", 0)))
        time.sleep(0.1)
        for number in range(100):
            source = ("127.0.0.2" if number % 2 else "127.0.0.3", 0)
            held.enter_context(socket.create_connection(("127.0.0.1", port), 5, source))
        time.sleep(0.2)
        assert connection_lives(quiet)
        quiet.settimeout(5)
        quiet.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b"200" in quiet.recv(65536)
