"""The node as a process of its own, as an admin runs it."""

from __future__ import annotations

import configparser
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from scarnode.dicom.scu import RemoteAE, echo
from tests.harness.tools import free_port, wait_until
from tests.privacy import LOGS

ROOT = Path(__file__).resolve().parent.parent.parent


class Peer(Protocol):
    """Anything results can be sent to, e.g. an `Orthanc`."""

    host: str
    port: int
    ae_title: str


class Node:
    """Start ``scarnode serve`` in a process session of its own; a context manager.

    Parameters
    ----------
    folder : Path
        Where config.ini, spool, results, ledger and log lie.
    destinations : mapping of str to Peer or mapping
        Every [destination:NAME]: a peer, or the section's keys and values.
    environment : mapping of str to str, optional
        Added to the process's environment.
    prefix : sequence of str
        Stands before its command, e.g. `tests.harness.disk.small_disk`.
    roles : sequence of str
        What it does of receive, work and deliver; empty: all.
    **sections : mapping of str to value
        Keys and values of a section, over the ones below, e.g. ``study={"quiet_seconds": 1}``.
    """

    def __init__(
        self,
        folder: Path,
        destinations: Mapping[str, Peer | Mapping[str, Any]] | None = None,
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        roles: Sequence[str] = (),
        **sections: Mapping[str, Any],
    ) -> None:
        self.folder = folder
        self.host, self.port, self.ae_title = "127.0.0.1", free_port(), "SCARNODE"
        self.spool, self.results = folder / "spool", folder / "results"
        self.ledger_path = folder / "ledger.sqlite"
        self.config_path, self.log_path = folder / "config.ini", folder / "node.log"
        self._environment = dict(environment or {})
        self._prefix = tuple(prefix)
        self._roles = tuple(roles)
        self._begun = 0
        self._process: subprocess.Popen[bytes] | None = None
        settings: dict[str, dict[str, Any]] = {
            "node": {"ae_title": self.ae_title, "host": self.host, "port": self.port},
            "spool": {"path": self.spool},
            "results": {"path": self.results},
            "ledger": {"url": f"sqlite:///{self.ledger_path}"},
            "study": {"quiet_seconds": 1},
            "segment": {"device": "cpu", "workers": 1},
            "web": {"port": 0},
        }
        for name, peer in (destinations or {}).items():
            known = (
                peer if isinstance(peer, Mapping) else {key: getattr(peer, key) for key in ("host", "port", "ae_title")}
            )
            settings[f"destination:{name}"] = dict(known)
        for section, values in sections.items():
            settings.setdefault(section, {}).update(values)
        self.ae_title = settings["node"]["ae_title"]
        self.port = settings["node"]["port"]
        self._settings = settings

    def __enter__(self) -> Node:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            sys.stderr.write(f"---- the node's log ----\n{self.log()[-6000:]}\n")
        with suppress(subprocess.TimeoutExpired):
            self.terminate()
        self.kill()

    @property
    def pid(self) -> int:
        """Process id of the running node."""
        assert self._process is not None, "the node is not running"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended since."""
        return self._process is not None and self._process.poll() is None

    def write_config(self) -> Path:
        """Write config.ini."""
        self.folder.mkdir(parents=True, exist_ok=True)
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_dict(self._settings)
        with self.config_path.open("w") as file:
            parser.write(file)
        return self.config_path

    def start(self, timeout: float = 60.0) -> None:
        """Start it and wait until it answers C-ECHO; RuntimeError with its log if it ends instead."""
        self.launch()
        wait_until(self._up, timeout, f"the node's answer to C-ECHO (log: {self.log_path})")

    def launch(self) -> subprocess.Popen[bytes]:
        """Start it without waiting for anything."""
        self.write_config()
        LOGS.add_node(self.log_path, self.ledger_path)
        self._begun = len(self.log())
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self._env,
                start_new_session=True,
                umask=0o022,
            )
        return self._process

    def run(self, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run it in the foreground, as one that should refuse to start; stdout and stderr apart, as text."""
        self.write_config()
        done = subprocess.run(
            self._command, capture_output=True, text=True, cwd=self.folder, env=self._env, timeout=timeout, check=False
        )
        LOGS.add_text(done.stderr)
        return done

    @property
    def _command(self) -> list[str]:
        roles = [word for role in self._roles for word in ("--role", role)]
        return [*self._prefix, sys.executable, "-m", "scarnode.cli", "serve", "-c", str(self.config_path), *roles]

    @property
    def _env(self) -> dict[str, str]:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        return {**os.environ, "PYTHONPATH": path, **self._environment}

    def echo(self) -> bool:
        """Ask it by C-ECHO whether it is alive."""
        return echo(RemoteAE(self.host, self.port, self.ae_title, timeout=5), "HARNESS").ok

    def log(self) -> str:
        """Give everything it wrote to stdout and stderr, over all its starts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def kill(self, group: bool = True) -> None:
        """SIGKILL: the node with its worker processes, or the node alone."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            if group:
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        self._process.wait()
        self._process = None

    def wait(self, timeout: float = 30.0, group: bool = True) -> int:
        """Wait until it ends (someone kills it), end what is left of its process group, and give the exit code."""
        assert self._process is not None, "the node is not running"
        code = self._process.wait(timeout)
        if group:
            self.kill()
        return code

    def terminate(self, timeout: float = 30.0) -> int | None:
        """SIGTERM, as systemd does it; gives the exit code."""
        if self._process is None:
            return None
        self._process.terminate()
        code = self._process.wait(timeout)
        self.kill()  # what is left of its process group
        return code

    def restart(self) -> None:
        """End it as systemd does, and start it again on the same folders and port."""
        self.terminate()
        self.start()

    def _up(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"the node ended with code {self._process.returncode}:\n{self.log()[-6000:]}")
        return self.echo() if "receive" in (self._roles or ("receive",)) else self.member != ""

    @property
    def member(self) -> str:
        """Its name among the processes of a shared ledger, as it logs it when it is up; empty before."""
        told = re.findall(r"(\S+-[0-9a-f]{8}): (?:receive|work|deliver)", self.log()[self._begun :])
        return told[-1] if told else ""
