"""Writes docs/commands.md: the --help of every command as Markdown. Run it as: python docs/make_commands.py"""

from __future__ import annotations

from pathlib import Path

import click
import typer

from scarnode.cli import app
from scarnode.cli.guide import EXAMPLES, ROOT, USUAL_CODES

HEAD = """# Commands

The same as `scarnode COMMAND --help`; made by `python docs/make_commands.py`, and compared with the commands by a test.

"""


def text() -> str:
    """Give the page."""
    root = typer.main.get_command(app)
    return HEAD + f"{root.help}\n\n{ROOT}\n" + "".join(_pages(root, ()))


def _pages(command: click.Command, path: tuple[str, ...]) -> list[str]:
    below = getattr(command, "commands", None)
    if below:
        return [page for name, one in below.items() for page in _pages(one, (*path, name))]
    name = " ".join(path)
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option"]
    words = [f"[{one.name.upper()}]" if not one.required else one.name.upper() for one in arguments]
    usage = " ".join(["scarnode", name, *(["[OPTIONS]"] if options else []), *words])
    parts = [f"\n## scarnode {name}\n", "```text", usage, "```\n", (command.help or "").strip() + "\n"]
    if arguments or options:
        parts += ["| argument, option | what it is | default |", "|---|---|---|"]
        parts += [_row(one) for one in [*arguments, *options]]
        parts.append("")
    parts += ["```sh", *EXAMPLES.get(name, ()), "```\n"]
    if "xit code" not in (command.help or ""):
        parts.append(USUAL_CODES + "\n")
    return ["\n".join(parts)]


def _row(parameter: click.Parameter) -> str:
    name = parameter.name.upper() if parameter.param_type_name == "argument" else ", ".join(parameter.opts)
    default = parameter.default
    shown = "" if default is None or default is False or default == "" or callable(default) else f"`{default}`"
    if parameter.required:
        shown = "needed"
    what = (getattr(parameter, "help", None) or "").replace("|", "\\|").replace("\n", " ")
    return f"| `{name}` | {what} | {shown} |"


if __name__ == "__main__":
    (Path(__file__).resolve().parent / "commands.md").write_text(text(), encoding="utf-8")
