"""A real Redis of our own, on a free port, that keeps nothing on disk."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import TracebackType

from tests.harness.tools import find_tool, free_port, wait_until


class Redis:
    """Start redis-server; a context manager.

    Attributes
    ----------
    url : str
        As [cluster] broker has it.
    """

    def __init__(self, folder: Path) -> None:
        self._program = find_tool("redis-server")
        self._folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Redis:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start, or start again on the same port."""
        self._folder.mkdir(parents=True, exist_ok=True)
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        with (self._folder / "redis.log").open("ab") as log:
            command = [self._program, *words, "--dir", str(self._folder)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self._answers, 10, f"redis-server (log: {self._folder}/redis.log)")

    def kill(self) -> None:
        """SIGKILL."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        import redis

        try:
            with redis.Redis(port=self.port, socket_timeout=1) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
