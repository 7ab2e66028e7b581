"""`scarnode doctor`: is everything as it must be, and if not, what is to be done?"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from scarnode.cli.common import CONFIG, ConfigOption, JsonOption, err, out, print_json
from scarnode.util.terminal import printable

app = typer.Typer()

COLOURS = {"ok": "green", "warning": "yellow", "fail": "red"}


@app.command()
def doctor(
    config: ConfigOption = CONFIG,
    try_out: Annotated[
        bool, typer.Option("--self-test/--no-self-test", help="Send a synthetic study through the node.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Check everything that the node needs, and send it a synthetic study. No destination gets the results.

    Run it as the node's user. Exit code 0: nothing fails (there may be warnings). 1: a check failed.
    """
    from scarnode.doctor import examine
    from scarnode.util.logs import keep_quiet_about_patients

    keep_quiet_about_patients()
    findings = []
    for finding in examine(config, try_out, lambda text: err.print(text, style="dim", soft_wrap=True)):
        findings.append(finding)
        if not as_json:
            line = Text(f"{finding.state:8}", COLOURS[finding.state])
            out.print(line + Text(printable(f"{finding.what}: {finding.detail}", besides="\n")), soft_wrap=True)
            if finding.todo:
                out.print(Text(printable(f"          -> {finding.todo}")), soft_wrap=True)
    if as_json:
        print_json(findings)
    raise typer.Exit(1 if any(finding.state == "fail" for finding in findings) else 0)
