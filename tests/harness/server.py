"""A server program in a folder of its own, as a context manager."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

Own = TypeVar("Own", bound="Server")


class Server(ABC):
    """A process that is started on entry and killed at the end."""

    _process: subprocess.Popen[bytes] | None = None

    def __enter__(self: Own) -> Own:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @abstractmethod
    def start(self) -> None:
        """Start, or start again on the same ports."""

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _launch(self, command: Sequence[str], log: Path) -> None:
        with log.open("ab") as told:
            self._process = subprocess.Popen(command, stdout=told, stderr=told, start_new_session=True)
