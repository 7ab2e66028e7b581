"""The config.ini and the systemd unit that come with scarnode."""

from __future__ import annotations

import sys
from pathlib import Path

_INSTALLED = Path(__file__).parent / "shipped"
_CHECKOUT = Path(__file__).resolve().parents[2]
_DATA = "/var/lib/scarnode"
_PROGRAM = "/opt/scarnode/bin/scarnode"


def shipped_config(data: Path | None = None) -> str:
    """Return the commented config.ini.

    Parameters
    ----------
    data : Path, optional
        Folder for spool, results and ledger, instead of /var/lib/scarnode.
    """
    text = _text("config.ini")
    return text if data is None else text.replace(_DATA, str(data.absolute()))


def shipped_unit(roles: bool = False) -> str:
    """Return the systemd unit, with the path of the running scarnode where it differs from that in the guide.

    Parameters
    ----------
    roles : bool
        The template for one role of several machines.
    """
    program = Path(sys.prefix, "bin", "scarnode")
    text = _text("systemd/scarnode@.service" if roles else "systemd/scarnode.service")
    return text.replace(_PROGRAM, str(program)) if program.exists() else text


def _text(name: str) -> str:
    installed = _INSTALLED / Path(name).name
    return (installed if installed.is_file() else _CHECKOUT / name).read_text(encoding="utf-8")
