"""The whole walk in a real browser: a node, a scanner, a person with mouse, keys, a phone, a screen reader's rules."""

import base64
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path

import pytest
from pydicom import dcmread
from pynetdicom import AE, AllStoragePresentationContexts, evt

from scarnode.dicom.uids import derived_uid
from scarnode.phantom import PhantomSettings, make_phantom
from scarnode.phantom.dicom import write_dicom
from scarnode.web import Role, make_account
from tests.harness.ledger import query, wait_for_jobs
from tests.harness.node import ROOT, Node
from tests.harness.senders import send_by_pynetdicom
from tests.harness.tools import find_tool, free_port, wait_until
from tests.viewer.chromium import Chromium, Page
from tests.viewer.npm import fetch_package

pytestmark = [pytest.mark.viewer, pytest.mark.timeout(420)]

AXE = (
    "axe-core",
    "4.10.3",
    "sha512-Xm7bpRXnDSX2YE2YFfBk2FnF0ep6tmG7xPh8iHee8MIcrgq762Nkce856dYtJYLkuIoYZvGfTs/PbZhideTcEg==",
)
"""Deque's checker of the WCAG rules (MPL-2.0); it only looks."""
PATIENT = PhantomSettings(
    matrix=(224, 224), slice_thickness=8.0, slice_distance=10.0, component="magnitude", scar_fraction=0.12
)
PASSWORD = "only for this test"
PICTURES = os.environ.get("SCARNODE_PICTURES", "")
"""Folder for the pictures of docs/web.md; empty: none are taken."""
DESKTOP, PHONE = (1180, 860), (360, 740)


SHOWN = """(() => {
    const stack = document.getElementById('stack'), top = stack.getBoundingClientRect().top;
    const tops = [...stack.querySelectorAll('figure')].map(one => one.getBoundingClientRect().top);
    return 1 + tops.findIndex(one => Math.abs(one - top) < 5);
})()"""
"""The slice that is shown, counted from 1; 0 while it moves."""
MIDDLE = """(() => {
    const box = document.getElementById('stack').getBoundingClientRect();
    return [box.x + box.width / 2, box.y + box.height / 2];
})()"""
SLIDE = """(() => {
    const slider = document.getElementById('at');
    slider.value = %d;
    slider.dispatchEvent(new Event('input'));
})()"""
VIOLATIONS = """axe.run(document, {
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']
}).then(
    result => result.violations.map(one => [one.id, one.nodes.map(node => `${node.target}: ${node.failureSummary}`)])
)"""


@dataclass(frozen=True)
class Walk:
    """A node, where its pages are, and the port that its PACS should listen on."""

    node: Node
    address: str
    pacs_port: int


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """Give a node with a synthetic study whose result could not be sent, and one without a short-axis LGE stack."""
    find_tool("chromium")
    folder = tmp_path_factory.mktemp("walk")
    nobody = {"host": "127.0.0.1", "port": free_port(), "ae_title": "PACS", "timeout_seconds": 5}
    web = {"port": free_port(), "users": str(make_account("vic", Role.VIEWER, PASSWORD))}
    with Node(
        folder / "node",
        {"pacs": nobody},
        web=web,
        study={"quiet_seconds": 1, "hold_flags": ""},
        deliver={"first_delay_seconds": 0.1, "max_attempts": 1},
    ) as running:
        study = write_dicom(make_phantom(7, PATIENT), folder / "study", vendor="siemens")
        cine = [as_cine(path, folder / "cine") for path in study[:3]]
        for files in (study, cine):
            assert len(send_by_pynetdicom(running, files)) == len(files)
        [job] = wait_for_jobs(running.ledger_path, timeout=150)
        assert job["state"] == "failed"
        searched = "SELECT id FROM study WHERE newest_instance = searched_instance"
        wait_until(lambda: len(query(running.ledger_path, searched)) == 2, 30, "both studies to be searched")
        yield Walk(running, f"http://127.0.0.1:{web['port']}", nobody["port"])


def as_cine(path: Path, folder: Path) -> Path:
    image = dcmread(path)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(image, keyword, derived_uid("cine", keyword, getattr(image, keyword)))
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    image.SeriesDescription, image.AccessionNumber = "cine SA", "CINE-ONLY"
    folder.mkdir(exist_ok=True)
    image.save_as(folder / path.name, enforce_file_format=True)
    return folder / path.name


@contextmanager
def pacs(port: int):
    entity = AE("PACS")
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(context.abstract_syntax)
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda _: 0x0000)])
    try:
        yield
    finally:
        server.shutdown()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with Chromium(tmp_path_factory.mktemp("chromium")) as running:
        yield running


class Person:
    """Somebody in front of the browser, logged in as administrator by the address that `scarnode web login` prints."""

    def __init__(self, walk: Walk, page: Page) -> None:
        self.walk, self.page = walk, page
        self.look(*DESKTOP)
        command = [sys.executable, "-m", "scarnode.cli", "web", "login", "-c", str(walk.node.config_path)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=True)
        page.open(done.stdout.strip())
        page.wait("document.querySelector('form.narrow button')", "the log-in")
        self.press("form.narrow button", "nav[aria-label=Main]")

    def go(self, path: str, what: str = "main h1") -> None:
        self.page.open(self.walk.address + path)
        there = f"location.pathname + location.search === {json.dumps(path)} && document.readyState === 'complete'"
        self.page.wait(there, path)
        self.page.wait(f"document.querySelector({json.dumps(what)})", what)

    def press(self, element: str, then: str) -> None:
        """Click, and wait for something on the page that follows."""
        self.page.evaluate("window.former = true")
        self.page.click(f"document.querySelector({json.dumps(element)})")
        self.page.wait(f"!window.former && document.querySelector({json.dumps(then)})", f"{then} after {element}")

    def key(self, name: str, code: int, text: str = "") -> None:
        for kind in ("rawKeyDown", *(["char"] if text else []), "keyUp"):
            self.page.send(
                "Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code, text=text
            )

    def look(self, width: int, height: int, dark: bool = False) -> None:
        """Look at a screen of this size."""
        mobile = width < 600
        self.page.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile
        )
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.page.send("Emulation.setEmulatedMedia", features=[feature])

    def text(self) -> str:
        return " ".join(self.page.evaluate("document.querySelector('main').innerText").split())

    def picture(self, name: str) -> None:
        """Take a picture for docs/web.md."""
        if PICTURES:
            data = self.page.send("Page.captureScreenshot", format="png")["data"]
            Path(PICTURES, f"{name}.png").write_bytes(base64.b64decode(data))


@pytest.fixture(scope="module")
def person(walk, chromium):
    with chromium.page("web") as page:
        yield Person(walk, page)


def at(person: Person) -> int:
    """Give the slice that is shown, counted from 1."""
    return person.page.evaluate(SHOWN)


def test_nobody_gets_in_without_the_password(walk, chromium):
    with chromium.page("stranger") as page:
        page.open(walk.address + "/jobs/1")
        page.wait("location.pathname === '/login' && document.readyState === 'complete'", "the log-in page")
        assert "PHANTOM" not in page.evaluate("document.documentElement.outerHTML")


def test_from_the_dashboard_to_a_slice(person):
    person.go("/")
    assert "failed" in person.text()
    assert "Synthetic" in person.text()
    person.press("a[href='/jobs/1']", "#stack")
    assert "PHANTOM^SEED7" in person.text()
    person.page.wait("[...document.querySelectorAll('#slice-1 img')].every(one => one.naturalWidth === 480)", "slice 1")
    count = person.page.evaluate("document.querySelectorAll('#stack figure').length")
    assert count >= 8
    assert at(person) == 1


def test_slices_by_keys_wheel_slider_and_touch(person):
    person.go("/jobs/1", "#stack")
    page, count = person.page, person.page.evaluate("document.querySelectorAll('#stack figure').length")
    page.evaluate("document.getElementById('stack').scrollIntoView({block: 'center'})")
    page.evaluate("document.getElementById('stack').focus()")
    for name, code, expected in (
        ("ArrowDown", 40, 2),
        ("ArrowRight", 39, 3),
        ("ArrowUp", 38, 2),
        ("End", 35, count),
        ("Home", 36, 1),
    ):
        person.key(name, code)
        wait_until(lambda expected=expected: at(person) == expected, 10, f"slice {expected} after {name}")
    page.wait(f"document.getElementById('at-words').textContent === '1 of {count}'", "the slider to follow", 10)
    x, y = page.evaluate(MIDDLE)
    page.send("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=400)
    wait_until(lambda: at(person) == 2, 10, "the next slice by wheel")
    page.wait("document.querySelector('#slice-2 .outlined').naturalWidth === 480", "slice 2, which was loaded late")
    page.evaluate(SLIDE % 5)
    wait_until(lambda: at(person) == 5, 10, "slice 5 by the slider")
    page.send("Emulation.setTouchEmulationEnabled", enabled=True)
    try:
        page.send("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y + 180}])
        for step in range(1, 13):
            finger = {"x": x, "y": y + 180 - 30 * step}
            page.send("Input.dispatchTouchEvent", type="touchMove", touchPoints=[finger])
        page.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        wait_until(lambda: at(person) == 6, 10, "the next slice by a swipe")
    finally:
        page.send("Emulation.setTouchEmulationEnabled", enabled=False)


def test_outlines_can_be_switched_off(person):
    person.go("/jobs/1", "#stack")
    seen = "getComputedStyle(document.querySelector('#slice-1 .outlined')).visibility"
    assert person.page.evaluate(seen) == "visible"
    person.page.click("document.getElementById('outlines')")
    assert person.page.evaluate(seen) == "hidden"


def test_why_there_is_no_result(person):
    person.go("/studies", "#words")
    person.page.evaluate("document.getElementById('words').focus()")
    person.page.send("Input.insertText", text="CINE-ONLY")
    person.page.evaluate("window.former = true")
    person.key("Enter", 13, "\r")
    person.page.wait("!window.former && location.pathname.startsWith('/studies/')", "the study")
    person.page.wait("document.querySelector('.answer')", "the answer")
    assert "CINE" not in person.page.evaluate("location.href")
    assert "none of its" in person.text()
    assert "Its name says cine" in person.text()


PAGES = ("/", "/jobs", "/jobs/1", "/studies", "/studies/2", "/settings", "/help/api")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_no_barrier(person, path, dark):
    source = (fetch_package(*AXE) / "axe.min.js").read_text()
    person.look(*DESKTOP, dark)
    person.go(path)
    person.page.evaluate(source + "; 0")
    found = person.page.evaluate(VIOLATIONS)
    person.look(*DESKTOP)
    assert found == []


@pytest.mark.parametrize("path", PAGES)
def test_a_phone_scrolls_in_one_direction_only(person, path):
    person.look(*PHONE)
    person.go(path)
    width = person.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    person.look(*DESKTOP)
    assert width == [PHONE[0], PHONE[0]]


def test_by_keyboard_alone(person):
    """The first stop skips to the content; every link and field can be reached, and shows that it was."""
    person.go("/jobs", "#words")
    person.page.evaluate("document.activeElement.blur()")
    stops = []
    for _ in range(40):
        person.key("Tab", 9)
        stop = person.page.evaluate(
            "(() => { const e = document.activeElement, s = getComputedStyle(e);"
            " return [e.tagName, e.textContent.trim().slice(0, 30) || e.id, s.outlineStyle !== 'none']; })()"
        )
        if stop[0] == "BODY":
            break
        stops.append(stop)
    assert stops[0][1] == "Skip to the content"
    assert [stop for stop in stops if not stop[2]] == []
    reached = {(tag, text) for tag, text, _ in stops}
    assert {("A", "Dashboard"), ("INPUT", "words"), ("BUTTON", "Search"), ("A", "1"), ("BUTTON", "Log out")} <= reached


def test_a_page_without_scripts(person, chromium):
    """Slices scroll, forms work, and the dashboard renews itself."""
    cookie = person.page.send("Network.getCookies", urls=[person.walk.address])["cookies"][0]
    with chromium.page("plain") as page:
        page.send("Emulation.setScriptExecutionDisabled", value=True)
        page.send("Network.setCookie", name=cookie["name"], value=cookie["value"], url=person.walk.address)
        page.open(person.walk.address + "/jobs/1")
        wait_until(lambda: page.evaluate("document.querySelectorAll('#stack figure').length"), 20, "the slices")
        # the style sheet may come after the slices
        page.wait("getComputedStyle(document.getElementById('stack')).overflowY === 'scroll'", "slices that scroll", 20)
        assert page.evaluate("getComputedStyle(document.querySelector('.slider')).display") == "none"
        assert page.evaluate("document.querySelectorAll('form[action=\"/jobs/1/retry\"] button').length") == 1


def test_pictures_for_the_docs(person):
    """Dashboard, job (light, dark, on a phone), each of the synthetic patient."""
    person.go("/")
    person.picture("web-dashboard")
    person.go("/jobs/1", "#stack")
    loaded = "[...document.querySelectorAll('#slice-1 img, #slice-6 img')].every(one => one.naturalWidth === 480)"
    person.picture("web-job")
    for name, size, dark in (("web-job-dark", DESKTOP, True), ("web-phone", PHONE, False)):
        person.look(*size, dark)
        person.go("/jobs/1", "#stack")
        person.page.evaluate("document.querySelector('#slices').scrollIntoView()")
        person.page.evaluate(SLIDE % 6)
        wait_until(lambda: at(person) == 6, 10, "slice 6")
        person.page.wait(loaded, "slice 6")
        person.picture(name)
    person.look(*DESKTOP)
    assert not PICTURES or all(path.stat().st_size < 150_000 for path in Path(PICTURES).glob("web-*.png"))


def test_retry_sends_what_was_not_sent(person):
    """Last: the archive comes back, a person asks, and the page follows by itself until the job is done."""
    with pacs(person.walk.pacs_port):
        person.go("/jobs/1", "form[action='/jobs/1/retry'] button")
        person.press("form[action='/jobs/1/retry'] button", ".flash")
        assert "Asked. The job is delivering" in person.text()
        wait_for_jobs(person.walk.node.ledger_path)
        person.page.wait("document.querySelector('#live .state').textContent === 'done'", "the page to follow", 30)
    assert "3 of 3 objects" in person.text()
    assert f"web, user {getuser()}" in person.text()
    assert person.page.problems == []
