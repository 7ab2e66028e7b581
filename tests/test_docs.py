"""The documentation holds: commands run or parse, settings are read, tables are what the code says, the site builds."""

from __future__ import annotations

import configparser
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydicom import dcmread
from pynetdicom import AE, AllStoragePresentationContexts, evt

from scarnode.config import read_settings
from scarnode.ledger.ledger import Ledger
from scarnode.phantom import PhantomSettings, make_phantom
from scarnode.phantom.dicom import write_dicom
from tests.harness.commands import check_arguments, commands
from tests.harness.dcmtk import storescu
from tests.harness.orthanc import Orthanc
from tests.harness.tools import wait_until
from tests.ledger.builders import analysed, plan, received, verdict

ROOT = Path(__file__).resolve().parent.parent
make = SimpleNamespace(**runpy.run_path(str(ROOT / "docs" / "make.py")))
prose = SimpleNamespace(**runpy.run_path(str(ROOT / "docs" / "sentences.py")))
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "model_weights/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
OTHERS = {
    "apt-get": "needs root; .ci/run installs the same packages",
    "git": "nothing to learn from running it",
    "journalctl": "needs systemd",
    "lint-imports": "part of .ci/run",
    "mkdocs": "test_the_site_builds does it",
    "mypy": "part of .ci/run",
    "nvidia-smi": "needs a GPU",
    "pip": "downloads; .ci/run runs the README's line, tests/test_package.py installs the wheel",
    "pipx": "downloads, as pip",
    "ruff": "part of .ci/run",
    "rm": "removes what this machine does not have",
    "systemctl": "needs systemd",
    "useradd": "needs root",
    "userdel": "needs root",
}
"""Programs whose commands are not run, and why."""

RUN = ("config init", "config unit", "config check", "jobs list", "jobs show", "series list", "alarms", "db upgrade")
"""Commands of ours that are run as they stand; the others are parsed (a test of their own runs them)."""


MADE = ("build/site", "docs/notebook/")
"""Paths that the guides name and a checkout need not have."""

ELSEWHERE = {"nav", "SCARNODE_TEST_DATA"}
"""Names that the guides use and scarnode does not define: a key of .mkdocs.yml, a variable of the tests."""


def blocks(page: Path, language: str) -> Iterator[str]:
    for found in re.finditer(rf"^( *)```{language}\n(.*?)^\1```", page.read_text(), re.DOTALL | re.MULTILINE):
        yield re.sub(rf"^{found[1]}", "", found[2], flags=re.MULTILINE)


def lines() -> Iterator[tuple[str, str]]:
    """Every single command of every page."""
    for page in PAGES:
        for block in blocks(page, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                for command in line.split(" && "):
                    if words := shlex.split(command, comments=True):
                        yield page.name, shlex.join(words)


COMMANDS = sorted(set(lines()))


def program(words: list[str]) -> tuple[str, list[str]]:
    """Give what is run: `/opt/scarnode/bin/pip` and `python3 -m pip` are pip."""
    name, rest = Path(words[0]).name, words[1:]
    if name.startswith("python") and rest[:1] == ["-m"]:
        return rest[1], rest[2:]
    return name, rest


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_every_command_is_one(page, line):
    name, words = program(shlex.split(line))
    if name == "scarnode":
        check_arguments(words)
    elif name == "pytest":
        assert all((ROOT / word).exists() for word in words if word.startswith("tests"))
    elif name.startswith("python"):
        assert words[0] == "-c" or (ROOT / words[0]).is_file()
    else:
        assert name in OTHERS or name in ("venv", "sqlite3", "tar"), f"{name} is on no list of {Path(__file__).name}"


def inline() -> Iterator[tuple[str, str]]:
    """Commands in running text."""
    known = {name.split()[0] for name, _ in commands()}
    for page in PAGES:
        if page.name != "commands.md":  # made of the commands
            for text in re.findall(r"(?<!`)`scarnode ([^`\n]+)`(?!`)", page.read_text()):
                if text.split()[0] in known or re.match(r"[a-z]+ [a-z]", text):
                    yield page.name, text


@pytest.mark.parametrize(("page", "text"), sorted(set(inline())))
def test_commands_in_running_text_exist(page, text):
    words = shlex.split(re.sub(r"\|.*|\.\.\.", "", text.replace("`", "")))
    words = ["7" if word == "JOB" else word for word in words]
    names = {name for name, _ in commands()}
    if any(name.startswith(" ".join(words)) and name != " ".join(words) for name in names):
        return  # a group
    command = next((name for name in names if words[: len(name.split())] == name.split()), None)
    assert command, f"{page}: there is no scarnode {text}"
    for option in (word for word in words if word.startswith("--")):
        known = [
            own
            for parameter in dict(commands())[command].params
            for own in (*parameter.opts, *parameter.secondary_opts)
        ]
        assert option.split("=")[0] in [*known, "--help"], f"{page}: scarnode {text}"


@pytest.fixture(scope="module")
def node(tmp_path_factory) -> Path:
    """A folder in the place of /var/lib/scarnode and /etc/scarnode, with a ledger that has seen a study."""
    folder = tmp_path_factory.mktemp("node")
    for name in ("lib/spool", "lib/results", "etc/scarnode"):
        (folder / name).mkdir(parents=True)
    shipped = (ROOT / "config.ini").read_text()
    config = shipped.replace("/var/lib/scarnode", str(folder / "lib"))
    (folder / "etc" / "scarnode" / "config.ini").write_text(config)
    ledger = Ledger(f"sqlite:///{folder / 'lib' / 'ledger.sqlite'}", "test")
    ledger.studies.add_instances([received(number) for number in range(1, 4)])
    ledger.studies.close_study(1, 3, [verdict()], [plan("a", range(1, 4))], {})
    ledger.jobs.finish(ledger.jobs.claim("h:0", 60), analysed("a"), {})
    ledger.close()
    return folder


def ours() -> list[tuple[str, str]]:
    found = []
    for page, line in COMMANDS:
        name, words = program(shlex.split(line))
        if name == "scarnode" and " ".join(words).startswith(RUN) and not {"--echo", "--test"} & set(words):
            found.append((page, line))
    return found


@pytest.mark.parametrize(("page", "line"), ours())
def test_commands_that_cost_little_run(scarnode, monkeypatch, node, tmp_path, page, line):
    _, words = program(shlex.split(line))
    monkeypatch.chdir(tmp_path)
    shutil.copy(node / "etc" / "scarnode" / "config.ini", tmp_path / "config.ini")
    monkeypatch.setenv("SCARNODE_CONFIG", str(node / "etc" / "scarnode" / "config.ini"))
    if words[:2] in (["config", "init"], ["config", "unit"]) and len(words) == 2:
        words.append(str(tmp_path / "etc" / "written"))  # the place that it names without is root's
    words = ["1" if word == "7" else word for word in words]
    scarnode(*words)


@pytest.mark.parametrize(
    "line", sorted({line for _, line in COMMANDS if program(shlex.split(line))[0] in ("sqlite3", "tar")})
)
def test_copies_of_the_ledger_can_be_made(node, tmp_path, line):
    name = shlex.split(line)[0]
    if not shutil.which(name):
        pytest.skip(f"{name} is not installed")
    there = line.replace("/var/lib/scarnode", str(node / "lib")).replace("/backup", str(tmp_path))
    words = shlex.split(there.replace("-C /etc", f"-C {node / 'etc'}"))
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    assert [path.stat().st_size > 1000 for path in tmp_path.iterdir()] == [True]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_and_json_in_the_docs_are_read(page, tmp_path, monkeypatch):
    for number, block in enumerate(blocks(page, "ini")):
        if "certificate =" in block or "ca_file =" in block or "Service]" in block:
            continue  # names files that are not here
        file = tmp_path / f"{number}.ini"
        file.write_text(block)
        monkeypatch.setenv("SCARNODE_DESTINATION_ARCHIVE_PASSWORD", "secret")
        read_settings(file)
    for block in blocks(page, "json"):
        json.loads(block)


@pytest.mark.parametrize("page", [str(page.relative_to(ROOT)) for page in prose.pages()])
def test_sentences_are_short(page):
    text = (ROOT / page).read_text()
    means = [round(prose.mean(text, tables), 1) for tables in (True, False)]
    assert max(means) < prose.LIMIT, f"see python docs/sentences.py --long 30 {page}"


def test_what_a_sentence_is():
    page = """# A heading is none

**Floor.** Five words stand in `code with blanks` here. One more, e.g. this; and 0.5 % of it.
![picture](a.png) <!-- comment -->

- first item [of a link](https://example.org/)
- second item

| label | 1.5 |
|---|---|
| a cell of five words. And three more. | yes |

```sh
no sentence at all
```
"""
    lengths = [prose.words(one) for one in prose.sentences(page)]
    assert lengths == [6, 8, 5, 2, 5, 3]
    assert prose.mean(page) == pytest.approx(29 / 6)
    assert [prose.words(one) for one in prose.sentences(page, tables=False)] == lengths[:4]


def test_what_is_made_from_the_code_is_new():
    page = ROOT / "docs" / "troubleshooting.md"
    todo = "run: python docs/make.py"
    assert (ROOT / "docs" / "commands.md").read_text() == make.commands(), todo
    assert page.read_text() == make.troubleshooting(page.read_text()), todo
    assert page.read_text().count("| `LGE_SHORT_AXIS` |") == page.read_text().count("| `NO_HEART` |") == 1


def backticked(page: str) -> list[str]:
    """Return what a page has in backticks in running text and tables."""
    text = re.sub(r"^( *)```.*?^\1```", "", (ROOT / page).read_text(), flags=re.DOTALL | re.MULTILINE)
    return sorted(set(re.findall(r"`([^`\n]+)`", text)))


@pytest.mark.parametrize("page", ["docs/architecture.md", "docs/developer.md", "CONTRIBUTING.md"])
def test_files_and_names_in_the_guides_exist(page):
    files = [*(ROOT / "scarnode").rglob("*.py"), *(ROOT / "tests" / "harness").glob("*.py"), ROOT / "tests/conftest.py"]
    source = "\n".join(path.read_text() for path in files)
    defined = set(re.findall(r"(?:class|def) (\w+)|^ *(?:\w+\.)*(\w+)(?:: [^=\n]+)? = ", source, re.MULTILINE))
    known = {word for words in defined for word in words}
    known |= set(re.findall(r"\b[a-z_]\w*", source))  # values, keys, modules: only what has capitals must be defined
    known |= set(re.findall(r"\w+", (ROOT / "config.ini").read_text() + (ROOT / "setup.cfg").read_text()))
    found = {"paths": 0, "names": 0}
    for text in backticked(page):
        if re.fullmatch(r"\.?[\w@-]+(/[\w@.-]*)+|[\w-]+\.(py|md|ini|cfg|toml|txt|yml)|\.[a-z]+\.yml", text):
            found["paths"] += 1
            there = [path for path in (ROOT / text, ROOT / "scarnode" / text) if path.exists()]
            assert there or text in MADE, f"{page}: there is no {text}"
        elif re.fullmatch(r"[A-Za-z_]\w*(\.\w+)*", text):
            found["names"] += 1
            unknown = set(text.split(".")) - known - ELSEWHERE
            assert not unknown, f"{page}: nothing is called {text}"
    assert found["paths"] > 0


def test_layers_in_the_guide_are_those_that_are_checked():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    layers = setup["importlinter:contract:layers"]["layers"].split()
    text = (ROOT / "docs" / "architecture.md").read_text().partition("\n## Layers\n")[2]
    [line] = re.findall(r"^util, .*$", text, re.MULTILINE)
    assert [f"scarnode.{name}" for name in line.split(", ")] == layers[::-1]
    mapped = set(re.findall(r"^\| `(\w+)[/`]", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE))
    assert mapped == set(line.split(", "))


def test_every_alarm_is_explained():
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    section = text.partition("\n## Alarms\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([a-z_]+?)(?:_N|_NAME)?`", re.sub(r"(?m)\|[^|]*\|[^|]*\|$", "", section)))
    used = set()
    for path in (ROOT / "scarnode").rglob("*.py"):
        source = path.read_text()
        used |= set(re.findall(r'(?:(?:set|raise)_|\.)alarm\(f?"([a-z]+(?:_[a-z]+)*)', source))
        used |= set(re.findall(r'^[A-Z_]*ALARM[A-Z_]* = "([a-z_]+)"', source, re.MULTILINE))
        used |= set(re.findall(r'^DESTINATION = "([a-z]+)_"', source, re.MULTILINE))
        used |= {
            f"disk_{name}"
            for name in re.findall(r'folders\["(\w+)"\]|"(spool|results)": self', source)
            for name in name
            if name
        }
    assert {"failed_jobs", "worker", "destination", "audit_repository", "disk_ledger"} <= used
    assert used <= named, f"docs/troubleshooting.md does not explain {sorted(used - named)}"


def test_orthanc_is_as_the_guide_has_it(tmp_path):
    """The configuration and the script of docs/connect-pacs.md in a real Orthanc: images come on, results do not."""
    page = ROOT / "docs" / "connect-pacs.md"
    [configuration], [script] = blocks(page, "json"), blocks(page, "lua")
    came = []

    def store(event: evt.Event) -> int:
        came.append(event.request.AffectedSOPInstanceUID)
        return 0

    node = AE("SCARNODE")
    node.supported_contexts = AllStoragePresentationContexts
    server = node.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    own = json.loads(configuration)
    own["DicomModalities"]["scarnode"] |= {"Host": "127.0.0.1", "Port": server.socket.getsockname()[1]}
    (tmp_path / "to-scarnode.lua").write_text(script)
    for place in ("DicomAet", "DicomPort"):
        del own[place]  # the harness has its own
    files = write_dicom(make_phantom(1, PhantomSettings(matrix=(32, 32), slices=2, component="magnitude")), tmp_path)
    with Orthanc(tmp_path / "orthanc", LuaScripts=[str(tmp_path / "to-scarnode.lua")], **own) as orthanc:
        for path, title in zip(files, ("SCARNODE", "MR1"), strict=True):  # the second proves that the script runs
            done = storescu(orthanc.host, orthanc.port, [path], orthanc.ae_title, title)
            assert done.returncode == 0, done.stderr
        wait_until(lambda: came, 20, "what Orthanc forwards")
        orthanc.wait_for(2)
    server.shutdown()
    assert came == [dcmread(files[1]).SOPInstanceUID]


def test_the_site_builds(tmp_path):
    """Strict: no dead link or anchor, no page outside the navigation; and nothing in it comes from another machine."""
    pytest.importorskip("material", reason="mkdocs-material is not installed")
    command = (
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--quiet",
        "-f",
        ".mkdocs.yml",
        "-d",
        tmp_path / "site",
    )
    done = subprocess.run(
        [*map(str, command)],
        check=False,
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) >= len(PAGES) - 1
    for page in pages:
        loaded = re.findall(
            r'<(?:script|img|link|iframe|source)\b[^>]*?(?:src|href)="((?:https?:)?//[^"]+)', page.read_text()
        )
        assert not [url for url in loaded if "canonical" not in url], page.name
