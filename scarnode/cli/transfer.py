"""`scarnode send`: files to a node, as a scanner sends them."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from scarnode.cli.common import CONFIG, ConfigOption, JsonOption, err, out, person_of
from scarnode.util.errors import ScarnodeError
from scarnode.util.terminal import Table

if TYPE_CHECKING:
    from scarnode.dicom.scu import RemoteAE

app = typer.Typer()

_ADDRESS = re.compile(r"(?P<title>[^@]{1,16})@(?P<host>\[[0-9A-Fa-f:.]+\]|[^@:\[\]]+):(?P<port>\d{1,5})")


@app.command()
def send(
    paths: Annotated[list[Path], typer.Argument(help="DICOM files, or folders searched to any depth.")],
    to: Annotated[
        str, typer.Option(help="AE@HOST:PORT, or a destination's name in config.ini; default: the node itself.")
    ] = "",
    calling: Annotated[str, typer.Option(help="Calling AE title; default: that of config.ini.")] = "",
    config: ConfigOption = CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Send DICOM files by C-STORE, byte for byte. Objects that fail for now are sent again.

    Exit code 0: all were stored. 1: some were rejected. 2: unusable input. 130: Ctrl-C.
    """
    from scarnode.audit import record_sending, record_sent
    from scarnode.batch.study import list_files
    from scarnode.config import read_settings
    from scarnode.dicom.scu import DimseDestination
    from scarnode.dicom.scu.push import push

    peer, title = _peer(to, calling, config)
    files = list_files(paths)
    trail = read_settings(config).audit_trail() if os.access(config, os.R_OK) else None
    person = person_of(trail) if trail else None
    destination = DimseDestination(to, peer)
    if trail:
        record_sending(trail, files, destination, person)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with stopped_by_ctrl_c() as stopping, Progress(*columns, TimeRemainingColumn(), console=err, transient=True) as bar:
        task = bar.add_task("Sending", total=None)
        pushed = push(files, peer, title, lambda done, total: bar.update(task, completed=done, total=total), stopping)
    if trail:
        record_sent(trail, pushed.outcomes, destination, [True] * len(pushed.outcomes), person)
    if not pushed.outcomes:
        where = ", ".join(map(str, paths))
        raise ScarnodeError("there is no DICOM object", where, "Give DICOM files (PS3.10), or folders with some")
    if as_json:
        answers = [
            {"path": str(one.path), "ok": one.ok, "status": one.status, "detail": one.detail} for one in pushed.outcomes
        ]
        facts = {"to": str(peer), "sent": len(pushed.outcomes) - len(pushed.refused), "bytes": pushed.size}
        facts |= {"seconds": round(pushed.seconds, 3), "associations": pushed.associations}
        print(json.dumps({**facts, "skipped": [str(path) for path in pushed.skipped], "files": answers}))
    else:
        if pushed.refused:
            table = Table("File", "Status", "Why", title="Not stored")
            for one in pushed.refused:
                table.add_row(str(one.path), "" if one.status is None else f"0x{one.status:04X}", one.detail)
            out.print(table)
        size, took = pushed.size / 1e6, max(pushed.seconds, 0.001)
        text = f"{len(pushed.outcomes) - len(pushed.refused)} of {len(pushed.outcomes)} stored by {peer}: "
        text += f"{size:.1f} MB in {took:.1f} s ({size / took:.1f} MB/s)"
        out.print(
            text + (f"; {len(pushed.skipped)} files are no DICOM objects" if pushed.skipped else ""), soft_wrap=True
        )
    raise typer.Exit(130 if stopping.is_set() else 1 if pushed.refused else 0)


def _peer(to: str, calling: str, config: Path) -> tuple[RemoteAE, str]:
    """Return the called peer and the calling AE title."""
    from scarnode.config import read_settings
    from scarnode.config.local_node import own_node
    from scarnode.dicom.scu import RemoteAE

    match = _ADDRESS.fullmatch(to)
    if match:
        title = calling or (read_settings(config).node.ae_title if config.exists() else "SCARNODE")
        host, port = match["host"].strip("[]"), int(match["port"])
        try:
            return RemoteAE(host, port, match["title"], timeout=60.0), title
        except ValueError as error:
            raise ScarnodeError(str(error), to, "Give AE@HOST:PORT, e.g. SCARNODE@10.1.2.3:11112") from None
    settings = read_settings(config)
    title = calling or settings.node.ae_title
    if not to:
        return own_node(settings), title
    known = {name: peer.ae for name, peer in settings.peers().items() if peer.ae}
    if to not in known:
        names = ", ".join(known) or "none"
        raise ScarnodeError("no such address", to, f"Give AE@HOST:PORT, or a C-STORE destination: {names}")
    return dataclasses.replace(known[to], timeout=max(60.0, known[to].timeout)), title


@contextmanager
def stopped_by_ctrl_c() -> Iterator[threading.Event]:
    """Return an event that the first Ctrl-C sets; the second one ends the program as usual."""
    stopping = threading.Event()
    former = signal.getsignal(signal.SIGINT)

    def stop(_signal: int, _frame: object) -> None:
        stopping.set()
        signal.signal(signal.SIGINT, former)

    signal.signal(signal.SIGINT, stop)
    try:
        yield stopping
    finally:
        signal.signal(signal.SIGINT, former)
