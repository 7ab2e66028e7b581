"""Each command's --help stands alone, and docs/commands.md is made of them."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scarnode.cli.guide import EXAMPLES, USUAL_CODES
from tests.harness.commands import check_arguments, commands

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = dict(commands())


def test_every_command_has_examples():
    assert sorted(EXAMPLES) == sorted(COMMANDS), "scarnode/cli/guide.py and the commands differ"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_stands_alone(scarnode, name):
    command = COMMANDS[name]
    purpose = (command.help or "").splitlines()[0]
    assert len(purpose) > 20
    assert purpose[0].isupper()
    assert purpose.rstrip()[-1] in ".?)"
    for parameter in command.params:
        text = getattr(parameter, "help", None)
        named = parameter.name in ("job", "series", "study")  # the one argument, which the purpose speaks of
        assert text or named, f"{parameter.name} of {name} has no help"
    shown = " ".join(scarnode(*name.split(), "--help").stdout.replace("│", " ").split())
    assert all(" ".join(example.split()) in shown for example in EXAMPLES[name])
    assert "xit code" in shown


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_examples_parse(line):
    program, *words = shlex.split(line)
    assert program == "scarnode"
    check_arguments(words)


def test_the_usual_exit_codes_are_those(scarnode, tmp_path):
    assert "0: done. 2:" in USUAL_CODES
    assert "No such file" in scarnode("config", "check", "-c", tmp_path / "absent.ini", code=2).stderr
    scarnode("config", "check", "--no-such-option", code=2)


@pytest.mark.slow
def test_bash_completes_commands_and_options(tmp_path):
    """In a real bash, with the function that --show-completion prints."""
    bash = shutil.which("bash")
    if not bash:
        pytest.skip("bash is not installed")
    program = tmp_path / "scarnode"
    program.write_text(f"#!{sys.executable}\nfrom scarnode.cli import main\n\nmain()\n")  # as pip writes it
    program.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}

    def complete(*words: str) -> set[str]:
        script = f"""
            source <(scarnode --show-completion)
            COMP_WORDS=({shlex.join(["scarnode", *words])}); COMP_CWORD={len(words)}
            function=$(complete -p scarnode | sed 's/.*-F \\([^ ]*\\).*/\\1/')
            $function scarnode; printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        done = subprocess.run([bash, "-c", script], env=env, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return set(done.stdout.split())

    assert {"serve", "segment", "jobs"} <= complete("")
    assert complete("jobs", "sh") == {"show"}
    assert "--accession" in complete("series", "list", "--")
