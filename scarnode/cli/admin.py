"""Commands on the node: its settings, ledger and alarms."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import typer

from scarnode.cli.common import (
    CONFIG,
    ConfigOption,
    JsonOption,
    listing,
    open_ledger,
    out,
    print_json,
    show,
    time_of,
    user,
)

app = typer.Typer()
config_app = typer.Typer(help="Check config.ini.", no_args_is_help=True)
db_app = typer.Typer(help="The ledger's schema.", no_args_is_help=True)


@config_app.command("check")
def config_check(
    config: ConfigOption = CONFIG,
    echo: Annotated[
        bool, typer.Option("--echo", help="Also test the connection to every destination (C-ECHO, or QIDO-RS).")
    ] = False,
) -> None:
    """Check config.ini and list every fault.

    Warns of secrets that others on this machine can read. With --echo exit code 1: a destination failed the test.
    """
    from scarnode.config import read_settings
    from scarnode.config.exposed import exposed_secrets
    from scarnode.dicom.tls import check_identity
    from scarnode.monitoring.notifier import CHANNELS, channel_of

    settings = read_settings(config)
    for exposed, todo in exposed_secrets(config):
        out.print(f"WARNING: {exposed}. {todo}", soft_wrap=True)
    out.print(f"{config}: good. AE {settings.node.ae_title} on port {settings.node.port}.")
    if settings.tls.port:
        callers = "callers show a certificate" if settings.tls.mutual else "callers need no certificate"
        plain = "; the other port stays closed" if settings.tls.only else ""
        out.print(f"TLS on port {settings.tls.port}: {callers}{plain}.", soft_wrap=True)
    if identity := settings.tls.identity():
        ends = datetime.fromtimestamp(check_identity(identity), timezone.utc)
        out.print(f"certificate: valid until {ends:%Y-%m-%d %H:%M} UTC", soft_wrap=True)
    peers = list(settings.peers().values())
    for peer in peers:
        out.print(f"destination {peer.name}: {peer} takes {', '.join(peer.objects)}", soft_wrap=True)
    channels = " and ".join(name for name in CHANNELS if channel_of(settings, name))
    out.print(
        f"alarms are sent by {channels}" if channels else "nobody is notified of alarms ([notify])", soft_wrap=True
    )
    if echo:
        from scarnode.util.logs import keep_quiet_about_patients

        keep_quiet_about_patients()
        answers = [(peer.name, peer.echo(settings.node.ae_title)) for peer in peers]
        for name, answer in answers:
            out.print(f"destination {name}: {'good' if answer.ok else 'NOT GOOD'}. {answer.detail}", soft_wrap=True)
        raise typer.Exit(0 if all(answer.ok for _, answer in answers) else 1)


@db_app.command("upgrade")
def db_upgrade(config: ConfigOption = CONFIG) -> None:
    """Upgrade the ledger's schema to this version, as `serve` does. On SQLite no node may run on it."""
    from scarnode.config import read_settings
    from scarnode.ledger.ledger import upgrade_ledger

    upgrade_ledger(read_settings(config).ledger.url, f"command line, user {user()}")
    out.print("the ledger is up to date")


@app.command()
def alarms(
    config: ConfigOption = CONFIG,
    past: Annotated[bool, typer.Option("--all", help="Also ended alarms.")] = False,
    test: Annotated[
        bool, typer.Option("--test", help="Send a test message by mail and webhook, as [notify] says.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List standing alarms, e.g. a disk that is almost full. Exit code 1: an alarm stands.

    With --test nothing is listed. Exit code 1: a message could not be sent.
    """
    from scarnode.ledger import queries

    if test:
        raise typer.Exit(0 if _test_channels(config) else 1)

    rows = queries.list_alarms(open_ledger(config)[1], past)
    if as_json:
        print_json(rows)
    else:
        table = listing("Alarm", "Since", "Until", "Detail", folds=("Detail",))
        for row in rows:
            table.add_row(
                row.name, time_of(row.raised_at), time_of(row.cleared_at) if row.cleared_at else "", row.detail
            )
        if rows:
            show(table)
        else:
            out.print("no alarm")
    raise typer.Exit(1 if any(row.cleared_at is None for row in rows) else 0)


def _test_channels(config: Path) -> bool:
    """Send a test message by every channel, and print the result."""
    import socket

    from scarnode.config import read_settings
    from scarnode.monitoring import Message
    from scarnode.monitoring.notifier import CHANNELS, channel_of

    settings = read_settings(config)
    channels = {name: channel for name in CHANNELS if (channel := channel_of(settings, name))}
    if not channels:
        out.print("nobody is notified of alarms: set mail_server or webhook_url in [notify]", soft_wrap=True)
        return False
    message = Message(settings.node.ae_title, socket.gethostname(), link=settings.notify.link)
    sendings = {name: channel.send(message) for name, channel in channels.items()}
    for name, sending in sendings.items():
        out.print(f"{name}: {'sent' if sending.ok else 'NOT SENT'}. {sending.trouble}".rstrip(), soft_wrap=True)
    return all(sending.ok for sending in sendings.values())
