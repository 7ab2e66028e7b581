"""`scarnode web`: access to the node's pages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scarnode.cli.common import CONFIG, ConfigOption, err, out, user
from scarnode.util.errors import ScarnodeError
from scarnode.web import Role

app = typer.Typer(help="Log in to the node's web pages.", no_args_is_help=True)


@app.command("login")
def login(config: ConfigOption = CONFIG) -> None:
    """Print an address that logs in once, as administrator, within five minutes."""
    from scarnode.config import read_settings
    from scarnode.web.links import link_folder, make_code

    settings = read_settings(config)
    web = settings.web
    if not web.port:
        raise ScarnodeError("the node serves no pages", "[web] port = 0", "Set a port and restart the node")
    code = make_code(link_folder(settings), user())
    name = web.names[0] if web.names else {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(web.host, web.host)
    name = f"[{name}]" if ":" in name else name
    behind = bool(web.proxy and web.names)
    address = f"{'https' if web.secure else 'http'}://{name}{'' if behind else f':{web.port}'}/login?code={code}"
    out.print(address, soft_wrap=True)
    err.print("Good for five minutes, once. Open it in a browser that reaches this address.", soft_wrap=True)


@app.command("user")
def add_user(
    name: Annotated[str, typer.Argument(help="Letters, digits and . _ @ -")],
    role: Annotated[
        Role, typer.Option(help="viewer: see; admin: also change jobs, and see the settings.")
    ] = Role.VIEWER,
    password_file: Annotated[
        Path | None, typer.Option(help="Read the password from this file; default: ask for it.")
    ] = None,
) -> None:
    """Print a line for [web] users in config.ini. The password itself is not stored."""
    from scarnode.web import make_account

    if password_file is None:
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        try:
            password = password_file.read_text(encoding="utf-8").rstrip("\n")
        except (OSError, UnicodeDecodeError):
            raise ScarnodeError("can not be read", str(password_file), "Name a text file") from None
    try:
        out.print(str(make_account(name, role, password)), soft_wrap=True)
    except ValueError as error:
        raise ScarnodeError(f"allowed: {error}", name, "Run it again") from None
