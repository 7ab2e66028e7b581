"""A real Redis of our own, on a free port, that keeps nothing on disk."""

from __future__ import annotations

from pathlib import Path

from tests.harness.server import Server
from tests.harness.tools import find_tool, free_port, wait_until


class Redis(Server):
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

    def start(self) -> None:
        """Start, or start again on the same port."""
        self._folder.mkdir(parents=True, exist_ok=True)
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._launch([self._program, *words, "--dir", str(self._folder)], self._folder / "redis.log")
        wait_until(self._answers, 10, f"redis-server (log: {self._folder}/redis.log)")

    def _answers(self) -> bool:
        import redis

        try:
            with redis.Redis(port=self.port, socket_timeout=1) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
