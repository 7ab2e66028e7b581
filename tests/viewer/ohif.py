"""Stock OHIF from npm, in front of an Orthanc's DICOMweb, looked at as a reader does."""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from tests.harness.orthanc import Orthanc
from tests.viewer.chromium import Page
from tests.viewer.npm import fetch_package

VERSION = "3.13.2"
INTEGRITY = "sha512-WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA=="
"""npm's digest of the package."""
_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".css": "text/css",
    ".wasm": "application/wasm",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
}
Image = tuple[str, int]
"""SOP Instance UID and frame number."""


def find_ohif() -> Path:
    """Give the folder of OHIF's pages."""
    return fetch_package("@ohif/app", VERSION, INTEGRITY) / "dist"


class Ohif:
    """Serve OHIF's pages and, under the same address, the DICOMweb of an Orthanc; a context manager."""

    def __init__(self, pages: Path, orthanc: Orthanc) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(pages, orthanc.http_port))
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Ohif:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(pages: Path, orthanc_port: int) -> type[BaseHTTPRequestHandler]:
    config = Path(__file__).with_name("app-config.js")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            if path.startswith(("/dicom-web", "/wado")):
                self._pass_on()
                return
            file = config if path == "/app-config.js" else pages / path.lstrip("/")
            if not file.is_file():
                file = pages / "index.html"  # a route of the application
            self._answer(200, _TYPES.get(file.suffix, "application/octet-stream"), file.read_bytes(), "max-age=3600")

        def _pass_on(self) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", orthanc_port, timeout=60)
            # with the Host kept, Orthanc's own links lead back here
            kept = {name: value for name, value in self.headers.items() if name.lower() in ("accept", "host")}
            try:
                connection.request("GET", self.path, headers=kept)
                answer = connection.getresponse()
                self._answer(answer.status, answer.headers["Content-Type"] or "text/plain", answer.read())
            finally:
                connection.close()

        def _answer(self, status: int, kind: str, content: bytes, caching: str = "no-store") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Cache-Control", caching)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@dataclass(frozen=True)
class Shown:
    """A segmentation as the viewer holds it.

    Attributes
    ----------
    segments : dict of int to str
        Number and label.
    colors : dict of int to tuple of int
        Number and RGB that the viewer paints it in.
    voxels : dict of Image to numpy.ndarray
        uint8, (rows, columns), segment numbers, by the image that the viewer lays them on.
    painted : dict of Image to int
        Coloured pixels on the screen, by the image shown.
    """

    segments: dict[int, str]
    colors: dict[int, tuple[int, ...]]
    voxels: dict[Image, np.ndarray]
    painted: dict[Image, int]


@dataclass(frozen=True)
class Report:
    """An SR as the viewer shows it.

    Attributes
    ----------
    measurements : tuple
        For every outline the image that it lies on, and the names and values listed for it.
    texts : tuple of str
        What stands beside the outlines of the image that the viewer jumps to first.
    visited : tuple of Image
        The images that the viewer jumps to, first and from one outline to the next.
    """

    measurements: tuple[tuple[Image, tuple[tuple[str, str], ...]], ...]
    texts: tuple[str, ...]
    visited: tuple[Image, ...]


class Reader:
    """A reader who opens a study in OHIF.

    Raises
    ------
    TimeoutError
        No image is drawn.
    """

    def __init__(self, page: Page, ohif: Ohif, study_uid: str) -> None:
        self._page = page
        page.open(
            f"{ohif.address}/viewer?StudyInstanceUIDs={study_uid}",
            "localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour']));",
            Path(__file__).with_name("look.js").read_text(),
        )
        page.wait("look.drawn()", "the first image", 90)

    def open_segmentation(self, description: str) -> Shown:
        """Double-click a SEG, say yes to loading it, and look at some of the slices."""
        page = self._page
        self._open(description, "look.segmentations().length > 0")
        page.wait("look.segmentations().length > 0 && look.laidOn()", f"{description} on its images")
        page.wait("look.drawn()", "an image with the segmentation")
        found = page.evaluate("look.segmentation()")
        assert found["label"] == description
        voxels = {
            _image(on): np.frombuffer(base64.b64decode(content), np.uint8).reshape(rows, columns)
            for on, rows, columns, content in found["images"]
        }
        slices = page.evaluate("look.viewport().getImageIds().length")
        painted = [page.evaluate(f"look.painted({index})") for index in (0, slices // 2)]
        page.screenshot("segmentation")
        return Shown(
            {number: label for number, label, _ in found["segments"]},
            {number: tuple(color) for number, _, color in found["segments"]},
            voxels,
            {_image(on): pixels for on, pixels in painted},
        )

    def open_report(self, description: str, jumps: int = 2) -> Report:
        """Double-click an SR, read what is listed and drawn, and press the arrow to the next outline some times."""
        page = self._page
        self._open(description, "look.outlines().length > 0")
        page.wait("look.outlines().length > 0 && look.drawn()", f"the outlines of {description}")
        page.wait("look.written()", "numbers beside the outlines")
        page.screenshot("report")
        measurements = page.evaluate("look.measurements()")
        texts = page.evaluate("look.texts()")
        visited = [page.evaluate("look.image()")]
        for _ in range(min(jumps, len(measurements) - 1)):
            page.click("look.button('viewport-action-arrows-right')")
            time.sleep(1)  # the next outline may be on the same image: no event to wait for
            page.wait("look.drawn()", "the next outline")
            visited.append(page.evaluate("look.image()"))
        return Report(
            tuple((_image(on), tuple((name, value) for name, value in listed)) for on, listed in measurements),
            tuple(texts),
            tuple(map(_image, visited)),
        )

    def _open(self, description: str, there: str) -> None:
        """Double-click an object in the list of series; say yes where OHIF asks whether to load it."""
        page, row = self._page, f"look.row({json.dumps(description)})"
        page.wait(row, f"{description} in the list of series")
        opened = f"look.button('yes-hydrate-btn') || {there}"
        for patience in (20, 20, 60):  # the list may move under the pointer: do as a reader would, click again
            page.click(row, count=2)
            with suppress(TimeoutError):
                page.wait(opened, description, patience)
                break
        page.wait(opened, description, 1)
        if page.evaluate("Boolean(look.button('yes-hydrate-btn'))"):
            page.click("look.button('yes-hydrate-btn')")


def _image(image_id: str) -> Image:
    """Read ``wadors:.../instances/UID/frames/N``."""
    uid, _, number = image_id.partition("/instances/")[2].partition("/frames/")
    return uid, int(number or 1)
