"""dcmtk's own programs, by full path."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.harness.tools import find_tool, free_port, wait_until


def storescu(
    host: str,
    port: int,
    paths: Sequence[Path],
    called_ae: str,
    calling_ae: str = "SCANNER",
    options: Sequence[str] = (),
    timeout: float = 60.0,
) -> subprocess.CompletedProcess[str]:
    """Send files or folders (searched through) with dcmtk's storescu.

    Parameters
    ----------
    options : sequence of str
        More of storescu's options, e.g. ``["-xs"]`` to propose JPEG lossless first, ``["-xi"]`` implicit VR only.

    Returns
    -------
    subprocess.CompletedProcess
        With stdout and stderr as text; returncode 0 only if every file was answered with success.
    """
    command = [find_tool("storescu"), "-aec", called_ae, "-aet", calling_ae, *options]
    if any(path.is_dir() for path in paths):
        command += ["+sd", "+r"]
    command += [host, str(port), *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


def echoscu(
    host: str, port: int, called_ae: str, calling_ae: str = "SCANNER", options: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Send a C-ECHO with dcmtk's echoscu."""
    command = [find_tool("echoscu"), "-v", "-aec", called_ae, "-aet", calling_ae, "-to", "5", "-ta", "5", "-td", "5"]
    command += options
    return subprocess.run([*command, host, str(port)], capture_output=True, text=True, timeout=30, check=False)


@contextmanager
def storescp(folder: Path, *options: str, ae_title: str = "STORESCP") -> Iterator[int]:
    """Run dcmtk's storescp, writing to `folder`, and give its port."""
    program, port = find_tool("storescp"), free_port()
    folder.mkdir(parents=True, exist_ok=True)
    command = [program, "-aet", ae_title, "-od", str(folder), *options, str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: _listens(port) or process.poll() is not None, 5, "storescp")
        assert process.poll() is None, f"storescp ended at once: {command}"
        yield port
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    """Look into the kernel's table: a connection made only to look would take storescp's one association."""
    needle = f":{port:04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if Path(table).exists():
            for line in Path(table).read_text().splitlines()[1:]:
                local, _, state = line.split()[1:4]
                if local.endswith(needle) and state == "0A":
                    return True
    if not Path("/proc/net/tcp").exists():
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0
    return False
