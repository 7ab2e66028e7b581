"""Secrets that other users of the machine can read: in config.ini, and in the key files that it names."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from scarnode.config.read import SECRETS, parse_file

_WITH_PASSWORD = re.compile(r"://[^/@\s]*:[^/@\s]+@")
"""An address with user and password, e.g. of a database or a broker."""


def exposed_secrets(path: Path) -> Iterator[tuple[str, str]]:
    """Return the secrets that others can read, and what to do, as text.

    Parameters
    ----------
    path : Path
        A config.ini.

    Raises
    ------
    ConfigError
        It can not be read.
    """
    raw = parse_file(path)
    secret = [
        f"[{section}] {key}" for section, items in raw.items() for key, value in items.items() if _is_secret(key, value)
    ]
    if secret and _read_by_others(path, group=True):
        others = f"{path} holds secrets ({', '.join(secret)}), and others may read it"
        yield others, f"chmod 600 {path}, and let the node's user own it; or set them in the environment"
    for items in raw.values():
        key = path.parent / items["private_key"] if items.get("private_key") else None
        if key is not None and key.exists() and _read_by_others(key, group=False):
            yield f"{key} is a private key, and others may read it", f"chmod 600 {key}"


def _is_secret(key: str, value: str) -> bool:
    if key == "broker" or key not in SECRETS:
        return bool(_WITH_PASSWORD.search(value))
    return bool(value.strip())


def _read_by_others(path: Path, group: bool) -> bool:
    """Return whether others than the owner can read a file. The node's own group does not count."""
    status = path.stat()
    ours = status.st_uid == os.geteuid()
    return bool(status.st_mode & (stat.S_IROTH | (stat.S_IRGRP if group and ours else 0)))
