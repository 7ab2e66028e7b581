"""Writes what the docs take from the code: commands.md, the tables of troubleshooting.md (python docs/make.py)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import click
import typer

from scarnode.cli import app
from scarnode.cli.guide import EXAMPLES, ROOT, USUAL_CODES
from scarnode.dicom.scp.rejection import Reason
from scarnode.pipeline.report.texts import FLAG_TEXTS
from scarnode.pipeline.stack import REASONS

DOCS = Path(__file__).resolve().parent
ANSWERS = {"reject": "A-ASSOCIATE-RJ", "abort": "A-ABORT", "close": "the connection is closed"}

HEAD = """# Commands

The same text as `scarnode COMMAND --help`. `python docs/make.py` writes this page.
A test compares it with the commands.

"""


def commands() -> str:
    """Give commands.md."""
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
    default = getattr(parameter.default, "value", parameter.default)
    shown = "" if default is None or default is False or default == "" or callable(default) else f"`{default}`"
    if parameter.required:
        shown = "needed"
    what = (getattr(parameter, "help", None) or "").replace("|", "\\|").replace("\n", " ")
    return f"| `{name}` | {what} | {shown} |"


def troubleshooting(page: str) -> str:
    """Give troubleshooting.md with its tables made anew."""
    tables = {
        "reasons": ["| reason | what it means, what to do |", "|---|---|", *_rows(sorted(REASONS.items()))],
        "flags": ["| flag | what it says |", "|---|---|", *_rows((str(flag), words) for flag, words in _flags())],
        "refusals": [
            "| in the log | what the peer gets |",
            "|---|---|",
            *(f"| {reason.words} | {_answer(reason)} |" for reason in Reason),
        ],
    }
    for name, lines in tables.items():
        between = "\n".join([f"<!-- table: {name} -->", *lines, "<!-- end -->"])
        page = re.sub(f"<!-- table: {name} -->.*?<!-- end -->", lambda _, new=between: new, page, flags=re.DOTALL)
    return page


def _flags() -> list[tuple[str, str]]:
    return [(str(getattr(flag, "value", flag)), words) for flag, words in FLAG_TEXTS.items()]


def _rows(pairs: Iterable[tuple[str, str]]) -> list[str]:
    return [f"| `{name}` | {words} |" for name, words in pairs]


def _answer(reason: Reason) -> str:
    _, kind, *codes = reason.value
    numbers = f" (`{'` `'.join(map(str, codes))}`)" if codes else ""
    lasting = ", for good" if kind == "reject" and not reason.transient else ""
    return ANSWERS[kind] + numbers + lasting


def main() -> None:
    """Write both pages."""
    (DOCS / "commands.md").write_text(commands(), encoding="utf-8")
    page = DOCS / "troubleshooting.md"
    page.write_text(troubleshooting(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
