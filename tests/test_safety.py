"""No source file of scarnode does what lets data become code: the syntax tree of each is searched."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted([*(ROOT / "scarnode").rglob("*.py"), *(ROOT / "model_weights").rglob("*.py"), ROOT / "setup.py"])

MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml", "ruamel", "jsonpickle"}
CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "os.spawnl", "os.spawnv", "tempfile.mktemp",
    "subprocess.getoutput", "subprocess.getstatusoutput", "torch.jit.load", "torch.hub.load",
}  # fmt: skip
EXCUSED = {("pickle", "UnpicklingError")}
"""The name of an error that torch.load raises for what is not weights."""


def faults(source: str) -> list[str]:
    """Give line and kind of everything forbidden in a source text."""
    found = []
    for node in ast.walk(ast.parse(source)):
        what = ""
        if isinstance(node, ast.Import):
            what = ", ".join(name.name for name in node.names if name.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            what = ", ".join(name.name for name in node.names if (node.module, name.name) not in EXCUSED)
        elif isinstance(node, ast.Assert):
            what = "assert: python -O leaves it out"
        elif isinstance(node, ast.Call):
            what = _call(node)
        if what:
            found.append(f"{node.lineno}: {what}")
    return found


def _call(node: ast.Call) -> str:
    name = ast.unparse(node.func)
    given = {word.arg: ast.unparse(word.value) for word in node.keywords}
    if name in CALLS:
        return name
    if given.get("shell", "False") != "False":
        return "shell"
    if given.get("allow_pickle", "False") != "False":
        return "allow_pickle"
    if name == "torch.load" and given.get("weights_only") != "True":
        return "torch.load without weights_only=True"
    return "verify" if given.get("verify") == "False" else ""


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_source(path):
    assert faults(path.read_text(encoding="utf-8")) == []


def test_there_are_sources():
    assert len(SOURCES) > 80


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import os, yaml",
        "from pickle import loads",
        "from yaml import safe_load",
        "def f():\n    return eval('1')",
        "subprocess.run('ls', shell=True)",
        "np.load(file, allow_pickle=True)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "tempfile.mktemp()",
        "requests.get(url, verify=False)",
        "assert user.is_admin",
    ],
)
def test_each_fault_is_found(source):
    assert len(faults(source)) == 1
