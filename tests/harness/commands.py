"""The command tree, and whether a line parses against it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import click
import typer

from scarnode.cli import app


@cache
def _tree() -> click.Command:
    """Build the tree once: it takes 20 ms, and hundreds of lines are parsed."""
    return typer.main.get_command(app)


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command with its full name."""
    yield from _below(_tree(), ())


def _below(command, path):
    below = getattr(command, "commands", None)
    if below is None:
        yield " ".join(path), command
        return
    for name, one in below.items():
        yield from _below(one, (*path, name))


def check_arguments(words: Sequence[str]) -> None:
    """Parse a command line without running it; raises what the parser finds wrong."""
    context = None
    command, words = _tree(), list(words)
    while hasattr(command, "commands"):
        if words and words[0] in ("--version", "--help", "--install-completion", "--show-completion"):
            return
        if not words or words[0] not in command.commands:
            raise ValueError(f"no such command: scarnode {' '.join(words)}")
        command = command.commands[words.pop(0)]
    if "--help" not in words:
        context = command.make_context(command.name, words)
        context.close()
