"""The web server: its port, its end, and what config.ini may say of it."""

import socket
import time
from pathlib import Path

import pytest
import requests
from fastapi import APIRouter, FastAPI

from scarnode.config import Settings, WebSection, read_settings
from scarnode.util.errors import ConfigError
from scarnode.web import Role, WebServer, make_account, read_account
from tests.harness.tools import free_port


def settings(**web) -> Settings:
    return Settings(web=WebSection(port=free_port(), **web))


def an_app() -> FastAPI:
    router = APIRouter()

    @router.get("/hello")
    def hello() -> dict[str, str]:
        return {"say": "hello"}

    app = FastAPI()
    app.include_router(router)
    return app


def test_it_answers_until_it_is_stopped():
    server = WebServer(an_app(), settings())
    address = f"http://127.0.0.1:{server.port}/hello"
    assert requests.get(address, timeout=5).json() == {"say": "hello"}
    begun = time.monotonic()
    server.stop()
    assert time.monotonic() - begun < 3
    with pytest.raises(requests.ConnectionError):
        requests.get(address, timeout=5)


def test_a_port_in_use_is_a_clear_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        section = WebSection(port=taken.getsockname()[1])
        with pytest.raises(ConfigError, match=r"\[web\] host, port: .*can not be listened on") as error:
            WebServer(an_app(), Settings(web=section))
    assert str(section.port) in str(error.value)


def test_it_speaks_tls(authority):
    made = authority.issue("127.0.0.1")
    from scarnode.config import TlsSection

    tls = TlsSection(certificate=made.certificate, private_key=made.private_key)
    server = WebServer(an_app(), Settings(web=WebSection(port=free_port(), tls=True), tls=tls))
    try:
        got = requests.get(f"https://127.0.0.1:{server.port}/hello", verify=str(authority.ca_file), timeout=5)
        assert got.json() == {"say": "hello"}
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ("host = 0.0.0.0", ("[web] host", "tls = yes")),
        ("host = everywhere", ("[web] host", "an IP address")),
        ("tls = yes\nproxy = 10.0.0.1", ("[web] proxy", "not both")),
        ("tls = yes", ("[web] tls", "certificate and private_key")),
        ("names = a b", ("[web] names", "host names")),
        ("users =\n    anna secretword", ("[web] users", "scarnode web user", "(secret)")),
        ("port = 70000", ("[web] port", "65535")),
    ],
)
def test_config_faults_say_what_is_allowed(tmp_path: Path, lines: str, named: tuple[str, ...]):
    file = tmp_path / "config.ini"
    file.write_text(f"[web]\n{lines}\n")
    with pytest.raises(ConfigError) as error:
        read_settings(file)
    for part in named:
        assert part in str(error.value)
    assert "secretword" not in str(error.value)


def test_accounts_are_read_from_config(tmp_path: Path):
    anna, ben = make_account("anna", Role.VIEWER, "correct horse"), make_account("ben", Role.ADMIN, "battery staple")
    file = tmp_path / "config.ini"
    file.write_text(f"[web]\nhost = 0.0.0.0\nproxy = 10.0.0.1\nnames = Scar.example.org\nusers =\n  {anna}\n  {ben}\n")
    section = read_settings(file).web
    assert section.users == (anna, ben)
    assert section.names == ("scar.example.org",)
    assert section.users[0].knows("correct horse")
    assert not section.users[0].knows("battery staple")
    assert str(anna).split("$")[1] not in repr(section)


def test_accounts_that_can_not_be():
    with pytest.raises(ValueError, match="at least 10"):
        make_account("anna", Role.VIEWER, "short")
    with pytest.raises(ValueError, match="letters"):
        make_account("an na", Role.VIEWER, "long enough")
    with pytest.raises(ValueError, match="NAME ROLE HASH"):
        read_account("anna viewer plain:password")
