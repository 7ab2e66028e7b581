"""Who gets in, who may do what, and what is refused before anything is looked at."""

import re
import stat
from pathlib import Path

import pytest
import requests

from scarnode.config import accounts
from scarnode.config.accounts import Role
from scarnode.ledger import queries
from scarnode.web import links
from scarnode.web.app import PARTS
from scarnode.web.sessions import IDLE_SECONDS, LONGEST_SECONDS, Sessions
from scarnode.web.throttle import MOST_BY_NAME, WINDOW_SECONDS
from tests.ledger.builders import TO_PACS, finished_job
from tests.web.site import ADMIN, VIEWER, Site, served

OPEN = {"/login", "/logout", "/api/login"}
"""Paths that nobody need log in for."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with served(tmp_path_factory.mktemp("site")) as running:
        finished_job(running.ledger, running.settings.results.path, TO_PACS)
        yield running


def test_nothing_is_shown_to_who_is_not_logged_in(site: Site):
    browser, seen = site.anybody(), 0
    for route in (route for part in PARTS for route in part().routes):
        path = re.sub(r"\{[^}]*\}", "1", route.path).replace("/jobs/1/1", "/jobs/1/retry")
        if path in OPEN:
            continue
        for method in route.methods:
            got = browser.request(method, site.address + path, allow_redirects=False, timeout=20)
            assert got.status_code == (401 if path.startswith("/api") else 303), f"{method} {path}: {got.status_code}"
            if got.status_code == 303:
                assert got.headers["Location"].startswith("/login")
            assert "PHANTOM" not in got.text
            seen += 1
    assert seen >= 25


def test_log_in_look_log_out(site: Site):
    browser = site.log_in(VIEWER)
    assert "PHANTOM^ONE" in browser.get(site.address + "/jobs", timeout=20).text
    cookie = next(iter(browser.cookies))
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite").lower() == "strict"
    kept = dict(browser.cookies)
    browser.post(site.address + "/logout", timeout=20)
    again = site.anybody().get(site.address + "/jobs", cookies=kept, allow_redirects=False, timeout=20)
    assert again.status_code == 303  # the session is gone, not just the cookie


def test_going_on_after_the_log_in_stays_here(site: Site):
    for wanted, got in (
        ("/jobs/1", "/jobs/1"),
        ("https://evil.example", "/"),
        ("//evil.example", "/"),
        ("/\\evil", "/"),
    ):
        done = site.anybody().post(
            site.address + "/login",
            data={"name": ADMIN[0], "password": ADMIN[1], "next": wanted},
            allow_redirects=False,
            timeout=20,
        )
        assert done.headers["Location"] == got


@pytest.mark.parametrize(("name", "password"), [(ADMIN[0], VIEWER[1]), ("nobody", ADMIN[1]), ("", ""), ("nobody", "")])
def test_a_wrong_password_is_refused(site: Site, name: str, password: str):
    got = site.anybody().post(site.address + "/login", data={"name": name, "password": password}, timeout=20)
    assert got.status_code == 401
    assert "Wrong name or password" in got.text
    assert not got.cookies


def test_a_viewer_sees_but_does_not_act(site: Site):
    browser = site.browser(VIEWER)
    page = browser.get(site.address + "/jobs/1", timeout=20)
    assert page.status_code == 200
    assert "/jobs/1/hold" not in page.text
    assert "/jobs/1/hold" in site.browser(ADMIN).get(site.address + "/jobs/1", timeout=20).text
    for method, path in (
        ("POST", "/jobs/1/hold"),
        ("POST", "/api/jobs/1/cancel"),
        ("GET", "/settings"),
        ("GET", "/api/settings"),
    ):
        assert browser.request(method, site.address + path, timeout=20).status_code == 403
    assert [row.state for row in _jobs(site)] == ["delivering"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": None},
        {"Origin": "http://127.0.0.1:1"},  # another port is another person's server
        {"Origin": None, "Sec-Fetch-Site": "cross-site"},
        {"Origin": None, "Sec-Fetch-Site": "same-site"},
    ],
)
def test_no_other_page_can_ask_for_a_change(site: Site, headers: dict):
    browser = site.browser()
    for path in ("/jobs/1/hold", "/api/jobs/1/hold"):
        got = browser.post(site.address + path, headers=headers, timeout=20)
        assert got.status_code == 403
        assert "page of this node" in got.text
    assert [row.state for row in _jobs(site)] == ["delivering"]


@pytest.mark.parametrize(
    ("host", "answered"),
    [("evil.example", False), ("127.0.0.1", True), ("localhost:81", True), ("[::1]", True), ("", False), ("[", False)],
)
def test_only_our_own_names_are_answered(site: Site, host: str, answered: bool):
    got = site.anybody().get(site.address + "/login", headers={"Host": host}, timeout=20)
    assert got.status_code == (200 if answered else 400)


def test_what_every_answer_says_to_the_browser(site: Site):
    browser = site.browser()
    for path in ("/", "/jobs/1", "/nothing", "/api/overview", "/login", "/static/style.css"):
        headers = browser.get(site.address + path, timeout=20).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert "server" not in headers


def test_a_large_request_is_refused(site: Site):
    for body in (b"x" * 100_000, iter([b"x" * 50_000, b"y" * 50_000])):
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        got = site.anybody().post(site.address + "/login", data=body, headers=headers, timeout=20)
        assert got.status_code == 413


def test_a_token_of_the_api(site: Site):
    words = dict(zip(("name", "password"), VIEWER, strict=True))
    token = requests.post(site.address + "/api/login", json=words, timeout=20, headers={"Origin": site.address}).json()
    got = requests.get(
        site.address + "/api/jobs", headers={"Authorization": f"Bearer {token['token']}"}, timeout=20
    ).json()
    assert [job["job"] for job in got] == [1]
    wrong = requests.get(site.address + "/api/jobs", headers={"Authorization": "Bearer nonsense"}, timeout=20)
    assert wrong.status_code == 401
    assert wrong.headers["WWW-Authenticate"] == "Bearer"


def test_the_address_that_logs_in_once(site: Site):
    folder = links.link_folder(site.settings)
    code = links.make_code(folder, "root")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.iterdir())
    assert code not in " ".join(path.name + path.read_text() for path in folder.iterdir())
    form = site.anybody().get(site.address + f"/login?code={code}", timeout=20).text
    assert f'value="{code}"' in form  # looking does not use it up: browsers fetch addresses ahead
    browser = site.anybody()
    assert "root, admin" in browser.post(site.address + "/login", data={"code": code}, timeout=20).text
    again = site.anybody().post(site.address + "/login", data={"code": code}, timeout=20)
    assert again.status_code == 401
    assert "used already" in again.text


def test_an_old_or_invented_address_logs_nobody_in(tmp_path: Path, monkeypatch):
    code = links.make_code(tmp_path / "codes", "root")
    monkeypatch.setattr(links, "VALID_SECONDS", -1.0)
    assert links.use_code(tmp_path / "codes", code) is None
    for invented in ("", "../../etc/passwd", "x" * 43, "\0"):
        assert links.use_code(tmp_path / "codes", invented) is None


def test_wrong_passwords_are_counted(tmp_path: Path, monkeypatch):
    with served(tmp_path) as site:
        browser = site.anybody()
        with monkeypatch.context() as cheap:
            cheap.setattr(accounts, "COST", 2)  # no hash fits, and none takes long
            for _ in range(MOST_BY_NAME):
                browser.post(site.address + "/login", data={"name": "ada", "password": "guess"}, timeout=20)
        got = browser.post(site.address + "/login", data={"name": "ada", "password": ADMIN[1]}, timeout=20)
        assert got.status_code == 429
        assert "Too many" in got.text
        api = browser.post(site.address + "/api/login", json={"name": "ada", "password": ADMIN[1]}, timeout=20)
        assert api.status_code == 429
        assert 0 < int(api.headers["Retry-After"]) <= WINDOW_SECONDS + 1
        site.log_in(VIEWER)  # who is somebody else gets in


def test_whose_account_changed_is_logged_out(tmp_path: Path):
    with served(tmp_path) as site:
        vic, ada = site.browser(VIEWER), site.browser(ADMIN)
        promoted = accounts.make_account(VIEWER[0], Role.ADMIN, VIEWER[1])
        users = (site.settings.web.users[0], promoted)
        site.server.reload_settings(
            site.settings.model_copy(update={"web": site.settings.web.model_copy(update={"users": users})})
        )
        assert vic.get(site.address + "/", allow_redirects=False, timeout=20).status_code == 303
        assert ada.get(site.address + "/", allow_redirects=False, timeout=20).status_code == 200
        assert "vic, admin" in site.log_in(VIEWER).get(site.address + "/", timeout=20).text


def test_sessions_end():
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    token = sessions.open("ada", Role.ADMIN, "")
    for _ in range(3):
        now[0] += IDLE_SECONDS - 1
        assert sessions.find(token) is not None
    now[0] += IDLE_SECONDS - 1
    assert sessions.find(token, click=False) is not None
    now[0] += 2  # a page that renews itself keeps nobody logged in
    assert sessions.find(token) is None
    token = sessions.open("ada", Role.ADMIN, "")
    end = now[0] + LONGEST_SECONDS
    while now[0] + IDLE_SECONDS / 2 < end:
        now[0] += IDLE_SECONDS / 2
        assert sessions.find(token) is not None
    now[0] = end + 1
    assert sessions.find(token) is None


def test_only_the_proxy_and_this_machine_are_answered(tmp_path: Path):
    with served(tmp_path, proxy="127.0.0.1", names=("scar.example.org",)) as site:
        through = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "10.1.2.3", "Host": "scar.example.org"}
        browser = site.anybody()
        browser.headers.update({**through, "Origin": "https://scar.example.org"})
        done = browser.post(
            site.address + "/login",
            data=dict(zip(("name", "password"), ADMIN, strict=True)),
            allow_redirects=False,
            timeout=20,
        )
        assert done.status_code == 303
        assert "__Host-scarnode=" in done.headers["Set-Cookie"]
        assert "; Secure" in done.headers["Set-Cookie"]
        assert "max-age" in done.headers["Strict-Transport-Security"]
        bare = browser.get(site.address + "/login", headers={"X-Forwarded-Proto": "http"}, timeout=20)
        assert bare.status_code == 403


def test_a_restarted_node_knows_no_session(tmp_path: Path):
    with served(tmp_path) as site:
        kept = dict(site.log_in().cookies)
    with served(tmp_path, site.settings) as site:
        got = site.anybody().get(site.address + "/", cookies=kept, allow_redirects=False, timeout=20)
        assert got.status_code == 303


def _jobs(site: Site):
    return queries.list_jobs(site.ledger)
