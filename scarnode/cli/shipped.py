"""`scarnode config init` and `config unit`: write a first config.ini and the systemd unit after an install by pip."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Annotated

import typer

from scarnode.cli.admin import config_app
from scarnode.cli.common import CONFIG, out
from scarnode.util.errors import ScarnodeError

UNITS = Path("/etc/systemd/system")


@config_app.command("init")
def config_init(
    path: Annotated[Path, typer.Argument(help="Path of the new file; - prints it.")] = CONFIG,
    data: Annotated[
        Path | None, typer.Option(help="Folder for spool, results and ledger, instead of /var/lib/scarnode.")
    ] = None,
) -> None:
    """Write the commented config.ini of scarnode. An existing file is never changed.

    Only its owner can read the file, because it will hold secrets. If root writes it, the owner is the user scarnode of
    the systemd unit, if that user exists.
    """
    from scarnode.config.shipped import shipped_config

    if _write(shipped_config(data), path, secret=True):
        out.print(f"{path} written. Set [destination:pacs], then: scarnode config check -c {path}", soft_wrap=True)


@config_app.command("unit")
def config_unit(
    path: Annotated[
        Path | None,
        typer.Argument(help=f"Path of the new file, by default in {UNITS}; - prints it.", show_default=False),
    ] = None,
    roles: Annotated[
        bool, typer.Option("--roles", help="Write the template scarnode@.service: one service for each role.")
    ] = False,
) -> None:
    """Write the systemd unit that runs this scarnode. An existing file is never changed."""
    from scarnode.config.shipped import shipped_unit

    path = path or UNITS / ("scarnode@.service" if roles else "scarnode.service")
    if _write(shipped_unit(roles), path):
        service = "scarnode@receive (@work, @deliver)" if roles else "scarnode"
        out.print(f"{path} written. Then: systemctl daemon-reload && systemctl enable --now {service}", soft_wrap=True)


def _write(text: str, path: Path, secret: bool = False) -> bool:
    """Write a new file, or print it; return whether a file was written.

    Parameters
    ----------
    secret : bool
        For its owner alone (mode 0600): root, or the node's user; else for all to read.
    """
    if str(path) == "-":
        print(text, end="")
        return False
    if os.path.lexists(path):
        todo = "Choose another path, or compare with what '-' instead of a path prints"
        raise ScarnodeError("the file is there already", str(path), todo)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = (
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        )  # exclusive: no file or link that appeared meanwhile is replaced
        with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
            if secret and os.geteuid() == 0 and (owner := _node_user()):
                os.fchown(file.fileno(), *owner)
            os.fchmod(file.fileno(), 0o600 if secret else 0o644)
            file.write(text)
    except OSError as error:
        raise ScarnodeError(
            f"can not be written ({error.strerror})", str(path), "Run as root, or choose another path"
        ) from None
    return True


def _node_user() -> tuple[int, int] | None:
    """Return user and group of the account that the systemd unit names; None where there is none."""
    try:
        account = pwd.getpwnam("scarnode")
    except KeyError:
        return None
    return account.pw_uid, account.pw_gid
