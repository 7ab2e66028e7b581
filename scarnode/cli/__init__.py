"""The commands. Each reads the settings, calls another package, and prints."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from scarnode import RESEARCH_USE, __version__
from scarnode.cli import admin, doctor, jobs, pull, run, series, shipped, training, transfer, web
from scarnode.cli.common import out, print_error
from scarnode.cli.guide import ROOT, add_examples
from scarnode.util.errors import ScarnodeError
from scarnode.util.logs import keep_quiet_about_patients

app = typer.Typer(
    help=f"Measures scar in late-gadolinium-enhancement short-axis stacks, as a DICOM node. {RESEARCH_USE}.",
    epilog=ROOT,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # local variables in a traceback would print patient data
)
for commands in (run, transfer, pull, training, admin, doctor):
    app.add_typer(commands.app)
for name, group in (
    ("jobs", jobs.app),
    ("series", series.app),
    ("config", shipped.config_app),
    ("db", admin.db_app),
    ("web", web.app),
):
    app.add_typer(group, name=name)
add_examples(app)


def main() -> None:
    """Run the command line. A `ScarnodeError` becomes one line on standard error and exit code 2."""
    try:
        app()
    except ScarnodeError as error:
        print_error(error)
        sys.exit(2)


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"scarnode {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    keep_quiet_about_patients()
