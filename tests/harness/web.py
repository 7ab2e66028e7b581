"""A DICOMweb server whose every answer is written by the test."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydicom import dcmread

from tests.harness.peers import raw_peer


def item(path: Path, reason: int | None = None, warning: int | None = None) -> dict[str, Any]:
    """Give an item of a store response that names the file's instance."""
    named: dict[str, Any] = {"00081155": {"vr": "UI", "Value": [dcmread(path).SOPInstanceUID]}}
    if reason is not None:
        named["00081197"] = {"vr": "US", "Value": [reason]}
    if warning is not None:
        named["00081196"] = {"vr": "US", "Value": [warning]}
    return named


def response(stored: Iterable[dict] = (), failed: Iterable[dict] = (), other: Iterable[dict] = ()) -> bytes:
    """Give a store response in DICOM JSON."""
    sequences = {"00081199": list(stored), "00081198": list(failed), "0008119A": list(other)}
    return json.dumps({tag: {"vr": "SQ", "Value": items} for tag, items in sequences.items() if items}).encode()


def http(status: int, body: bytes = b"", **headers: str) -> bytes:
    """Give the bytes of an HTTP answer."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def read_request(connection: socket.socket) -> bytes:
    """Read one HTTP request with its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536) or b"\r\n\r\n"
    head, _, body = data.partition(b"\r\n\r\n")
    length = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
    while len(body) < int(length[0] if length else 0):
        received = connection.recv(1 << 20)
        if not received:
            break
        body += received
    return head + b"\r\n\r\n" + body


@contextmanager
def web_server(*answers: bytes, requests: list[bytes] | None = None) -> Iterator[int]:
    """Answer each request, on a connection of its own, with the next of `answers`, the last one again and again.

    Gives the port; `requests` gets what was asked.
    """
    left = list(answers)

    def talk(connection: socket.socket) -> None:
        request = read_request(connection)
        if requests is not None:
            requests.append(request)
        connection.sendall(left.pop(0) if len(left) > 1 else left[0])

    with raw_peer(talk) as port:
        yield port
