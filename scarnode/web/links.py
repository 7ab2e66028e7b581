"""One-time log-in URLs, for users who may write to the ledger's folder: they can do more than any account."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from pathlib import Path

from scarnode.config import Settings
from scarnode.util.durable import replace_durably
from scarnode.util.errors import ScarnodeError

VALID_SECONDS = 300.0
_CODE = re.compile(r"[A-Za-z0-9_-]{43}")


def link_folder(settings: Settings) -> Path:
    """Return the folder of the codes: beside a SQLite ledger, else in the results folder."""
    return settings.folders().get("ledger", settings.results.path) / "web-login"


def make_code(folder: Path, name: str) -> str:
    """Make a code that logs in once as administrator within `VALID_SECONDS`.

    The folder holds a file for each code. Its name is the code's SHA-256, its content the user who made it.

    Raises
    ------
    ScarnodeError
        The folder can not be written.
    """
    code = secrets.token_urlsafe(32)
    try:
        path, owner = folder / _digest(code), folder.parent.stat()
        replace_durably(path, [name.encode()], folder.parent)
        if os.geteuid() == 0 and owner.st_uid != 0:  # made by root for a node that runs as another user
            for made in (folder, path):
                os.chown(made, owner.st_uid, owner.st_gid, follow_symlinks=False)
    except OSError as error:
        raise ScarnodeError(
            f"no log-in can be made there ({error.strerror})", str(folder), "Run it as the user that the node runs as"
        ) from None
    return code


def use_code(folder: Path, code: str) -> str | None:
    """Return the user who made a code, and delete the code; None where it is unknown, used or too old."""
    if not _CODE.fullmatch(code):
        return None
    path = folder / _digest(code)
    try:
        age, name = time.time() - path.stat().st_mtime, path.read_text()
        path.unlink()  # of two users of one code one fails here
    except OSError:
        return None
    return (name or "unknown") if abs(age) <= VALID_SECONDS else None


def drop_old_codes(folder: Path) -> None:
    """Delete codes that are too old."""
    try:
        for path in folder.iterdir():
            if abs(time.time() - path.stat().st_mtime) > VALID_SECONDS:
                path.unlink(missing_ok=True)
    except OSError:
        return


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()
