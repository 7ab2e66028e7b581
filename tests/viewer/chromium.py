"""A headless Chromium, told what to do over a pipe by the Chrome DevTools Protocol."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import queue
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.harness.tools import find_tool

_FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",  # containers and root have none; only pages of this machine are opened
    "--disable-dev-shm-usage",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--window-size=900,650",
)
# Chromium reads commands from file 3 and answers in file 4.
_LAUNCH = "import os, sys; [os.dup2(int(sys.argv[n]), n + 2) for n in (1, 2)]; os.execv(sys.argv[3], sys.argv[3:])"


class Chromium:
    """A browser process with a profile of its own below `folder`; a context manager."""

    def __init__(self, folder: Path) -> None:
        self._program = find_tool("chromium")
        self._folder = folder
        self._number = 0
        self._messages: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._page: Page | None = None

    def __enter__(self) -> Chromium:
        self._folder.mkdir(parents=True, exist_ok=True)
        theirs_in, self._out = _pipe()
        self._in, theirs_out = _pipe()
        command = [self._program, *_FLAGS, f"--user-data-dir={self._folder / 'profile'}", "about:blank"]
        with (self._folder / "chromium.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _LAUNCH, str(theirs_in), str(theirs_out), *command],
                pass_fds=(theirs_in, theirs_out),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        os.close(theirs_in)
        os.close(theirs_out)
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(Exception):  # it may have crashed: it ends in any case
            self.send("Browser.close", timeout=5)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._process.kill()
        self._process.wait()
        os.close(self._out)

    def page(self, name: str) -> Page:
        """Open an empty page, whose pictures and log get this name."""
        self._page = Page(self, self._folder / name)
        return self._page

    def send(self, method: str, timeout: float = 60.0, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and give its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + timeout
        while True:
            try:
                answer = self._messages.get(timeout=max(deadline - time.monotonic(), 0.01))
            except queue.Empty:
                raise TimeoutError(f"Chromium does not answer {method} within {timeout:g} s") from None
            if answer is None:
                log = (self._folder / "chromium.log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"Chromium ended: {log}")
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer.get('error')}"
                return answer["result"]
            if self._page and answer.get("sessionId") == self._page.session:
                self._page.note(answer)

    def _read(self) -> None:
        """Take up messages, each ended by a zero byte, until the pipe closes."""
        with os.fdopen(self._in, "rb") as pipe:
            rest = b""
            while chunk := pipe.read1(1 << 16):
                *whole, rest = (rest + chunk).split(b"\0")
                for message in whole:
                    self._messages.put(json.loads(message))
        self._messages.put(None)


class Page:
    """A page of a Chromium; a context manager that closes it.

    Attributes
    ----------
    problems : list of str
        What went wrong on the page: exceptions, answers of 400 and above, requests that left this machine.
    """

    def __init__(self, chromium: Chromium, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._chromium, self._folder = chromium, folder
        self.problems: list[str] = []
        self._console: list[str] = []
        self._address = ""
        self._target = chromium.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = chromium.send("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> Page:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        (self._folder / "console.log").write_text("\n".join(self._console))
        with suppress(Exception):  # a crashed page can not be pictured
            if error is not None:
                self.screenshot("failure")
            self._chromium.send("Target.closeTarget", timeout=10, targetId=self._target)

    def send(self, method: str, timeout: float = 60.0, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol on this page and give its result."""
        return self._chromium.send(method, timeout, self.session, **parameters)

    def open(self, address: str, *before: str) -> None:
        """Load a page; `before` are scripts that run ahead of the page's own."""
        self._address = address
        for script in before:
            self.send("Page.addScriptToEvaluateOnNewDocument", source=script)
        self.send("Page.navigate", url=address)

    def evaluate(self, expression: str, timeout: float = 60.0) -> Any:
        """Give the value of a JavaScript expression, awaited where it is a promise."""
        result = self.send(
            "Runtime.evaluate", timeout, expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in result, f"{expression}: {result['exceptionDetails']}"
        return result["result"].get("value")

    def wait(self, expression: str, what: str, timeout: float = 60.0) -> None:
        """Wait until a JavaScript expression is true; an exception counts as not yet."""
        deadline = time.monotonic() + timeout
        guarded = f"(() => {{ try {{ return Boolean({expression}); }} catch {{ return false; }} }})()"
        while not self.evaluate(guarded):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: not within {timeout:g} s; problems: {self.problems[:5]}")
            time.sleep(0.1)

    def click(self, element: str, count: int = 1) -> None:
        """Click (twice with ``count=2``) into the middle of the element that a JavaScript expression gives."""
        place = (
            f"(() => {{ const element = {element}; element.scrollIntoView({{block: 'center'}});"
            " const box = element.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        before = None
        while (now := self.evaluate(place)) != before:  # lists move while they fill
            before = now
            time.sleep(0.5)
        x, y = now
        for number in range(1, count + 1):
            for kind in ("mousePressed", "mouseReleased"):
                self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=number)

    def screenshot(self, name: str) -> Path:
        """Write a picture of the page beside its log."""
        path = self._folder / f"{name}.png"
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))
        return path

    def note(self, event: dict[str, Any]) -> None:
        """Keep what an event tells of trouble."""
        kind, told = event.get("method"), event.get("params", {})
        if kind == "Runtime.consoleAPICalled":
            words = [str(part.get("value", part.get("description", ""))) for part in told["args"]]
            self._console.append(f"{told['type']} {' '.join(words)}"[:1000])
        elif kind == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.problems.append(str(details.get("exception", {}).get("description", details["text"]))[:500])
        elif kind == "Network.responseReceived" and told["response"]["status"] >= 400:
            self.problems.append(f"{told['response']['status']} {told['response']['url']}")
        elif kind == "Network.requestWillBeSent":
            url = told["request"]["url"]
            origin = "/".join(self._address.split("/")[:3]) + "/"
            if not url.startswith(("blob:", "data:", "about:", origin)):
                self.problems.append(f"asks another machine: {url}")


def _pipe() -> tuple[int, int]:
    """Open a pipe whose ends are numbered 10 and above."""
    ends = os.pipe()
    moved = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return moved[0], moved[1]
