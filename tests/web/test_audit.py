"""Every view of patient data leaves an audit message before it is shown; without one nothing is shown."""

import re

import pytest

from scarnode.audit import AuditTrail
from scarnode.config import AuditSection
from scarnode.ledger import queries
from scarnode.util.errors import AuditError
from tests.harness.tools import free_port
from tests.web.site import VIEWER, served, site_settings, walked


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audited")
    settings = site_settings(folder).model_copy(
        update={"audit": AuditSection(url=f"syslog-tls://127.0.0.1:{free_port()}")}
    )
    with served(folder, settings) as running:
        walked(running.ledger, running.settings, folder, seed=8)
        yield running


def told(site) -> list[str]:
    """Give what waits for the repository, and forget it."""
    paths = [path for path in sorted((site.settings.spool.path / "audit").rglob("*")) if path.is_file()]
    texts = [path.read_text(errors="replace") for path in paths]
    for path in paths:
        path.unlink()
    return [text for text in texts if "AuditMessage" in text]


@pytest.mark.parametrize(
    ("method", "path", "given"),
    [
        ("GET", "/jobs", {}),
        ("GET", "/jobs/1", {}),
        ("GET", "/jobs/1/slices/0.png", {}),
        ("GET", "/jobs/1/page.png", {}),
        ("GET", "/jobs/1/part", {}),
        ("GET", "/studies/1", {}),
        ("GET", "/api/jobs", {}),
        ("GET", "/api/jobs/1", {}),
        ("GET", "/api/jobs/1/bullseye.png", {}),
        ("GET", "/api/studies/1", {}),
        ("POST", "/api/studies/search", {"json": {"words": "phantom"}}),
    ],
)
def test_each_view_is_told(site, method: str, path: str, given: dict):
    browser = site.browser(VIEWER)
    told(site)
    assert browser.request(method, site.address + path, timeout=20, **given).status_code == 200
    [message] = told(site)
    assert 'csd-code="110103"' in message  # DICOM Instances Accessed
    assert "vic@" in message
    assert "127.0.0.1" in message
    assert "PHANTOM^SEED8" in message or "SYN-000008" in message


def test_pictures_are_one_view_with_their_page(site):
    browser = site.browser()
    told(site)
    for path in (
        "/jobs/1",
        "/jobs/1/slices/0.png",
        "/jobs/1/slices/1-outlined.png",
        "/jobs/1/bullseye.png",
        "/jobs/1/part",
    ):
        browser.get(site.address + path, timeout=20)
    assert len(told(site)) == 1


def test_what_shows_no_patient_tells_nothing(site):
    browser = site.browser()
    told(site)
    for path in ("/", "/dashboard/part", "/settings", "/help/api", "/api/overview", "/jobs/99"):
        browser.get(site.address + path, timeout=20)
    assert told(site) == []


def test_log_ins_are_told(site):
    told(site)
    browser = site.log_in()
    browser.post(site.address + "/logout", timeout=20)
    site.anybody().post(site.address + "/login", data={"name": "my password", "password": "x"}, timeout=20)
    kinds = [("110122" in text, "110123" in text, 'EventOutcomeIndicator="0"' in text) for text in told(site)]
    assert sorted(kinds) == sorted([(True, False, True), (False, True, True), (True, False, False)])


def changes(site) -> list[tuple[str, str, str]]:
    """Give type, outcome and person of the messages that wait, all of which are of changes to job 1."""
    found = []
    for text in told(site):
        if 'csd-code="110103"' not in text or 'EventActionCode="U"' not in text:
            continue  # of the page that was shown then
        assert "SYN-000008" in text or "PHANTOM^SEED8" in text
        assert 'type="Job" value="MQ=="' in text  # "1" in base 64
        kind = re.search(r'EventTypeCode csd-code="(\w+)" codeSystemName="99SCARNODE"', text)
        outcome = re.search(r'EventOutcomeIndicator="(\d)"', text)
        person = re.search(r'UserID="(\w+)@', text)
        found.append((kind[1], outcome[1], person[1]))
    return found


@pytest.mark.parametrize("prefix", ["/jobs/1/", "/api/jobs/1/"])
def test_each_change_is_told(tmp_path, prefix: str):
    settings = site_settings(tmp_path).model_copy(
        update={"audit": AuditSection(url=f"syslog-tls://127.0.0.1:{free_port()}")}
    )
    with served(tmp_path, settings) as site:
        walked(site.ledger, site.settings, tmp_path, seed=8)
        browser, viewer = site.browser(), site.browser(VIEWER)

        def asked(action: str, who=browser) -> list[tuple[str, str, str]]:
            told(site)
            who.post(site.address + prefix + action, timeout=20)
            return changes(site)

        assert asked("hold", viewer) == [("JOB_HELD", "8", "vic")]
        assert asked("hold") == [("JOB_HELD", "0", "ada")]
        assert asked("hold") == [("JOB_HELD", "8", "ada")]  # it is held: refused
        assert asked("retry") == [("JOB_RELEASED", "0", "ada")]
        assert asked("retry") == [("JOB_SENT_AGAIN", "0", "ada")]  # tried at once
        assert asked("cancel") == [("JOB_CANCELLED", "0", "ada")]
        assert asked("retry") == [("JOB_RETRIED", "8", "ada")]


def test_nothing_is_changed_that_can_not_be_told(site, monkeypatch):
    def full(*_: object) -> None:
        raise AuditError("no audit message can be kept there", "folder", "Make room")

    browser = site.browser()
    state = [row.state for row in queries.list_jobs(site.ledger)]
    with monkeypatch.context() as patch:
        patch.setattr(AuditTrail, "record", full)
        for action in ("hold", "retry", "cancel"):
            assert browser.post(f"{site.address}/api/jobs/1/{action}", timeout=20).status_code == 503
            assert browser.post(f"{site.address}/jobs/1/{action}", timeout=20).status_code == 503
    assert [row.state for row in queries.list_jobs(site.ledger)] == state
    assert not [e for e in queries.list_events(site.ledger, 1) if e.actor.startswith("web, user ada")]


def test_nothing_is_shown_that_can_not_be_told(site, monkeypatch):
    def full(*_: object) -> None:
        raise AuditError("no audit message can be kept there", "folder", "Make room")

    browser = site.browser()
    monkeypatch.setattr(AuditTrail, "record", full)
    for path in ("/jobs", "/jobs/1", "/jobs/1/slices/0.png", "/studies/1", "/api/jobs/1"):
        got = browser.get(site.address + path, timeout=20)
        assert got.status_code == 503
        assert b"PHANTOM" not in got.content
        assert b"no audit message can be kept" in got.content
    assert browser.get(site.address + "/", timeout=20).status_code == 200
