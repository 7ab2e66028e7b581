"""Files with patient data: for their owner alone, whatever the umask, and no link that somebody planted is followed."""

from __future__ import annotations

import ast
import os
import stat
from pathlib import Path

import pytest

from scarnode.batch.archive import JOURNAL, TABLE, analyse_files
from scarnode.batch.process import BatchOptions
from scarnode.phantom import PhantomSettings, make_phantom
from scarnode.phantom.dicom import write_dicom
from scarnode.util.durable import LinkError, make_folder, open_to_append, replace_durably, write_durably
from scarnode.util.errors import InputError, ScarnodeError

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def open_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def open_to_others(folder: Path) -> list[Path]:
    return [path for path in (folder, *folder.rglob("*")) if mode(path) & 0o077]


# -- the helpers -------------------------------------------------------------------------------------------------------


def test_a_link_in_a_files_place_is_replaced_and_its_target_stays(tmp_path):
    victim, path = tmp_path / "victim", tmp_path / "out" / "file"
    victim.write_text("mine")
    path.parent.mkdir()
    path.symlink_to(victim)
    replace_durably(path, [b"new"], path.parent)
    assert (path.is_symlink(), path.read_text(), victim.read_text()) == (False, "new", "mine")
    assert mode(path) == 0o600


def test_no_folder_below_the_named_one_is_a_link(tmp_path):
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "out"
    elsewhere.mkdir()
    out.mkdir()
    (out / "key").symlink_to(elsewhere)
    for write in (
        lambda: replace_durably(out / "key" / "file", [b"x"], out),
        lambda: replace_durably(out / "key" / "deep" / "file", [b"x"], out),
        lambda: open_to_append(out / "key" / "file", out),
        lambda: make_folder(out / "key" / "deep", out),
    ):
        with pytest.raises(LinkError, match="symbolic link"):
            write()
    with pytest.raises(LinkError, match="leads out"):
        replace_durably(out / ".." / "file", [b"x"], out)
    assert not list(elsewhere.iterdir())


def test_the_named_folder_itself_may_be_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    replace_durably(tmp_path / "out" / "key" / "file", [b"x"], tmp_path / "out")
    assert (tmp_path / "disk" / "key" / "file").read_bytes() == b"x"
    assert mode(tmp_path / "disk" / "key") == 0o700


def test_a_file_is_private_from_its_first_moment(tmp_path, monkeypatch):
    seen, real = [], os.fchmod

    def fchmod(number: int, mode: int) -> None:
        seen.append(stat.S_IMODE(os.fstat(number).st_mode))
        real(number, mode)

    monkeypatch.setattr(os, "fchmod", fchmod)
    write_durably(tmp_path / "a", tmp_path / "part", [b"x"])
    replace_durably(tmp_path / "b", [b"x"])
    open_to_append(tmp_path / "c").close()
    assert seen == [0o600] * 3


def test_what_is_appended_to_is_a_plain_file_of_ours(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "link").symlink_to(victim)
    (tmp_path / "hard").hardlink_to(victim)
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "hard", "pipe"):
        with pytest.raises(LinkError):
            open_to_append(tmp_path / name)
    if os.geteuid() == 0:
        (tmp_path / "planted").touch()
        os.chown(tmp_path / "planted", 12345, 12345)
        with pytest.raises(LinkError, match="another user"):
            open_to_append(tmp_path / "planted")
    assert victim.read_text() == "mine"
    (tmp_path / "open").touch()
    with open_to_append(tmp_path / "open") as file:
        file.write("x")
    assert mode(tmp_path / "open") == 0o600


# -- what commands write -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    settings = PhantomSettings(matrix=(64, 64), slices=6, component="magnitude", corruption=False)
    return write_dicom(make_phantom(5, settings), tmp_path_factory.mktemp("study"))[0].parent


def test_segment_writes_for_its_owner_and_follows_no_link(tmp_path, study):
    out, victims = tmp_path / "out", tmp_path / "victims"
    [first] = analyse_files([study], BatchOptions(out)).stacks
    assert open_to_others(out) == []
    victims.mkdir()
    sheet, seg = Path(first.png), Path(first.seg)
    for place in (sheet, seg, out / TABLE):
        victim = victims / place.name
        victim.write_text("mine")
        place.unlink()
        place.symlink_to(victim)
    (out / JOURNAL).unlink()
    analyse_files([study], BatchOptions(out))
    assert {victim.read_text() for victim in victims.iterdir()} == {"mine"}
    assert not sheet.is_symlink()
    assert open_to_others(out) == []

    journal = (out / JOURNAL).read_text()
    (victims / "journal").write_text(journal)
    (out / JOURNAL).unlink()
    (out / JOURNAL).symlink_to(victims / "journal")
    with pytest.raises(InputError, match="symbolic link"):
        analyse_files([study], BatchOptions(out))
    assert (victims / "journal").read_text() == journal

    (out / JOURNAL).unlink()
    for path in sheet.parent.iterdir():
        path.unlink()
    sheet.parent.rmdir()
    (tmp_path / "elsewhere").mkdir()
    sheet.parent.symlink_to(tmp_path / "elsewhere")
    outcome = analyse_files([study], BatchOptions(out))
    assert "symbolic link" in outcome.rejected[0].detail
    assert not list((tmp_path / "elsewhere").iterdir())


def test_config_init_writes_for_its_owner(tmp_path, scarnode):
    config = tmp_path / "etc" / "config.ini"
    scarnode("config", "init", config)
    assert mode(config) == 0o600
    scarnode("config", "unit", tmp_path / "scarnode.service")
    assert mode(tmp_path / "scarnode.service") == 0o644
    (tmp_path / "dangling").symlink_to(tmp_path / "planted")
    scarnode("config", "init", tmp_path / "dangling", code=2)
    assert not (tmp_path / "planted").exists()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[web]\nport = 0\nusers =\n    {account}\n", "[web] users"),
        (
            "[notify]\nmail_server = smtps://localhost:465\nmail_to = a@b.c\nmail_from = a@b.c\n"
            "mail_user = u\nmail_password = p\n",
            "[notify] mail_password",
        ),
        ("[notify]\nwebhook_url = https://h.example/s3cret\n", "[notify] webhook_url"),
        ("[destination:pacs]\nurl = https://h.example/dicom\nuser = u\npassword = p\n", "[destination:pacs] password"),
        ("[node]\nae_title = A\n", ""),
        ("[notify]\n# webhook_url = https://h.example/s3cret\n", ""),
    ],
)
def test_config_check_warns_of_secrets_that_others_can_read(tmp_path, scarnode, text: str, named: str):
    from scarnode.web import Role, make_account

    config = tmp_path / "config.ini"
    config.write_text(text.format(account=make_account("anna", Role.VIEWER, "correct horse")))
    for allowed, warned in ((0o644, bool(named)), (0o640, bool(named)), (0o600, False)):
        config.chmod(allowed)
        done = scarnode("config", "check", "-c", config)
        assert ("WARNING" in done.stdout) is warned, (oct(allowed), done)
        assert ("chmod 600" in done.stdout) is warned
        if warned:
            assert named in done.stdout
        assert "s3cret" not in done.stdout


def test_a_ledgers_password_and_a_private_key_are_secrets_too(tmp_path):
    from scarnode.config.exposed import exposed_secrets

    config, key = tmp_path / "config.ini", tmp_path / "key.pem"
    config.write_text(
        "[ledger]\nurl = postgresql://u:pw@h/db\n[cluster]\nbroker = redis://:pw@h\n[tls]\nprivate_key = key.pem\n"
    )
    key.touch()
    config.chmod(0o644)
    (what, _), (of_key, _) = exposed_secrets(config)
    assert "[ledger] url, [cluster] broker" in what
    assert "key.pem is a private key" in of_key


def test_jobs_export_replaces_a_link_and_can_write_to_a_pipe(tmp_path, scarnode):
    config = tmp_path / "config.ini"
    config.write_text("[spool]\npath = spool\n[ledger]\nurl = sqlite:///ledger.sqlite\n")
    victim, out = tmp_path / "victim", tmp_path / "jobs.csv"
    victim.write_text("mine")
    out.symlink_to(victim)
    scarnode("jobs", "export", "-c", config, "-o", out)
    assert (victim.read_text(), mode(out)) == ("mine", 0o600)
    assert scarnode("jobs", "export", "-c", config, "-o", "/dev/null").stdout
    assert Path("/dev/null").is_char_device()


def test_codes_of_the_log_in_follow_no_link(tmp_path):
    from scarnode.web.links import make_code

    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "web-login").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ScarnodeError, match="symbolic link"):
        make_code(tmp_path / "web-login", "root")
    assert not list((tmp_path / "elsewhere").iterdir())


# -- the kind: nothing in the package writes past the helpers ----------------------------------------------------------

WRITERS = {"write_text", "write_bytes", "savefig", "savez", "savez_compressed", "save_as", "tofile", "save", "dump"}
MODES = set("wax+")
HARMLESS = {
    "scarnode/training/checkpoint.py": "weights of a run",
    "scarnode/training/export.py": "the licence of weights",
    "scarnode/phantom": "synthetic",
    "scarnode/training/run.py": "the curve of a run",
    "scarnode/training/train.py": "steps and losses of a run",
    "scarnode/pipeline/segment/weights.py": "weights and their card",
    "scarnode/doctor/selftest.py": "a synthetic study in a folder of its own",
    "scarnode/util/memory.py": "a number for the kernel",
    "scarnode/dicom/scu/push.py": "in a temporary folder, which is private",
    "scarnode/dicom/query/retrieve.py": "in a temporary folder, which is private",
    "scarnode/cli/jobs.py": "a device that the person names",
    "scarnode/audit/associations.py": "a file that it made private just before",
    "scarnode/dicom/spool/spool.py": "the lock, which is empty",
}
IN_MEMORY = {"buffer", "encoded", "picture", "text"}


def writes(source: str) -> list[int]:
    """Give the lines that write to a file by its name."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        first = ast.unparse(node.args[0]) if node.args else ""
        if node.func.attr in WRITERS and not (
            first in IN_MEMORY or (len(node.args) > 1 and ast.unparse(node.args[1]) in IN_MEMORY)
        ):
            found.append(node.lineno)
        modes = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        if node.func.attr == "open" and any(MODES & set(one) and len(one) <= 3 for one in modes):
            found.append(node.lineno)
    return found


def test_nothing_writes_patient_data_past_the_helpers():
    past = {}
    for path in sorted((ROOT / "scarnode").rglob("*.py")):
        name = str(path.relative_to(ROOT))
        if lines := writes(path.read_text()):
            past[name] = lines
    unknown = {name: lines for name, lines in past.items() if not any(name.startswith(one) for one in HARMLESS)}
    assert unknown == {}
    assert {one for one in HARMLESS if not any(name.startswith(one) for name in past)} == set()


@pytest.mark.parametrize(
    "source",
    ["path.write_text('x')", "path.open('w')", "d.save_as(path)", "figure.savefig(path)", "np.savez(path, a=1)"],
)
def test_each_way_past_them_is_found(source: str):
    assert writes(source) == [1]
