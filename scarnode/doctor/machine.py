"""Checks of this machine: files, disks, clock, ports, device, fonts."""

from __future__ import annotations

import getpass
import os
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from scarnode.config.exposed import exposed_secrets
from scarnode.dicom.tls import check_identity
from scarnode.doctor.model import Finding, fail, ok, warning
from scarnode.ledger import database, schema
from scarnode.util.disk import FreeSpaceLimit
from scarnode.util.durable import check_writable
from scarnode.util.errors import LedgerError, ScarnodeError

if TYPE_CHECKING:
    from scarnode.config import Settings

DAYS = 86400.0
SOON = 30 * DAYS
"""A certificate that expires within this time should be renewed."""

CLOCK_TOLERANCE = 120.0
"""Seconds by which a file may be newer than now: a network file system has its own clock."""


def check_config_file(path: Path) -> Iterator[Finding]:
    """Check who may read the secrets in config.ini, and the key files that it names."""
    what = "config.ini"
    exposed = list(exposed_secrets(path))
    for detail, todo in exposed:
        yield warning(what, detail, todo)
    if not exposed:
        yield ok(what, f"{path} can be used")


def check_ledger(settings: Settings) -> Finding:
    """Compare the ledger's schema with that of this version, without changing it."""
    what = "ledger"
    url = settings.ledger.url
    if not url.startswith("sqlite:///"):
        return _check_server(url)
    path = Path(url.removeprefix("sqlite:///")).absolute()
    if not path.exists():
        return ok(what, f"{path} is made when the node first starts")
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as link:
            [version] = link.execute("SELECT version_num FROM alembic_version").fetchone()
    except (sqlite3.Error, TypeError) as error:
        return fail(what, f"{path} can not be read ({error})", "Check its owner; or put back the copy beside it")
    if version == schema.REVISIONS[-1]:
        if path.stat().st_mode & 0o077:
            return warning(
                what, f"schema {version}; others may read {path}: it holds patient data", f"chmod 600 {path}"
            )
        return ok(what, f"schema {version}, {path.stat().st_size / 1e6:.1f} MB")
    return _other_schema(version, "or put back the copy named after its upgrade")


def _check_server(url: str) -> Finding:
    """Check the ledger's schema on a database server."""
    what = "ledger"
    try:
        engine = database.open_engine(url)
        name = engine.url.render_as_string()
        try:
            with engine.connect().execution_options(**database.READ_ONLY["postgresql"]) as link:
                version = schema.revision_of(link)
        finally:
            engine.dispose()
    except LedgerError as error:
        return fail(what, error.what, error.todo)
    except SQLAlchemyError as error:
        return fail(what, f"{name} can not be read ({type(error).__name__})", "Start the database; see docs/cluster.md")
    if version is None:
        return ok(what, f"is made in {name} when a node first starts")
    if version == schema.REVISIONS[-1]:
        return ok(what, f"schema {version}, {name}")
    return _other_schema(version, "or restore the database")


def _other_schema(version: str, other: str) -> Finding:
    what = "ledger"
    if version not in schema.REVISIONS:
        return fail(what, f"schema {version} is of a newer scarnode", f"Install the newer scarnode again, {other}")
    return warning(
        what,
        f"schema {version}, this version's is {schema.REVISIONS[-1]}",
        "scarnode db upgrade (the node does so too)",
    )


def check_folders(settings: Settings) -> Iterator[Finding]:
    """Check that the folders of spool, results and ledger are writable, by this user alone, and have free space."""
    for name, path in settings.folders().items():
        yield _check_folder(f"folder of {name}", path, settings.spool.free_space_limit())


def _check_folder(what: str, path: Path, floor: FreeSpaceLimit) -> Finding:  # noqa: PLR0911 (one for each answer)
    if not path.exists():
        above = next(parent for parent in path.parents if parent.exists())
        if os.access(above, os.W_OK):
            return ok(what, f"{path} is made when the node first starts")
        return fail(what, f"{path} is not there, and {above} can not be written", _chown_advice(path))
    try:
        status = path.stat()
        check_writable(path)
    except OSError as error:
        return fail(what, f"{path} can not be written by {getpass.getuser()} ({error.strerror})", _chown_advice(path))
    usage = floor.usage(path)
    if usage.spare < 0:
        todo = "Free disk space, set [retention], or lower [spool] min_free_gigabytes: images are refused until then"
        return fail(what, f"{usage}", todo)
    if status.st_uid != os.geteuid():
        return warning(
            what, f"{path} is another user's (id {status.st_uid})", "Run the doctor as the node's user: sudo -u"
        )
    if status.st_mode & 0o077 and "ledger" not in what:
        return warning(what, f"others may read {path}: it holds patient data", f"chmod 700 {path}")
    return ok(what, f"{path}: {usage}")


def _chown_advice(path: Path) -> str:
    return (
        f"chown -R {getpass.getuser()} {path}, or run this as the node's user (sudo -u scarnode), or set another path"
    )


def check_weights(settings: Settings) -> Finding:
    """Compare the weight file with its card."""
    from scarnode.pipeline.segment import read_identity

    try:
        identity = read_identity(settings.segment.weights)
    except ScarnodeError as error:
        return fail("weights", f"{error.where}: {error.what}", error.todo)
    return ok("weights", f"{identity.name} {identity.version}, sha256 {identity.sha256[:12]} as its card says")


def check_device(settings: Settings) -> Finding:
    """Check the device of the network. The self-test shows how fast it is."""
    import torch

    from scarnode.pipeline.segment.engine import best_dtype

    what, wanted = "device", settings.segment.device
    if torch.cuda.is_available():
        if wanted == "cpu":
            todo = "[segment] device = auto uses it"
            return warning(what, f"device = cpu, and there is a GPU ({torch.cuda.get_device_name(0)})", todo)
        return ok(what, f"GPU {torch.cuda.get_device_name(0)}")
    if wanted.startswith("cuda"):
        return fail(
            what, f"device = {wanted}, and PyTorch {torch.__version__} finds no GPU", "Set [segment] device = auto"
        )
    numbers = str(best_dtype(torch.device("cpu"))).removeprefix("torch.")
    return ok(what, f"CPU, {os.cpu_count()} cores, {numbers}; about a GPU: docs/performance.md")


def check_clock(settings: Settings) -> Finding:
    """Check that the clock is synchronised, and is not behind the times of the node's files."""
    now = time.time()
    files = [path for folder in settings.folders().values() if folder.is_dir() for path in folder.iterdir()]
    newest = max((path.stat().st_mtime for path in files if path.exists()), default=0.0)
    if newest > now + CLOCK_TOLERANCE:
        ahead = f"files in spool, results or ledger are {(newest - now) / 3600:.1f} h newer than the clock"
        return fail("clock", ahead, "Set the clock right (timedatectl set-ntp true); it went back")
    try:
        command = ["timedatectl", "show", "--property=NTPSynchronized", "--value"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ok("clock", "not behind any of the node's files; without systemd here its synchronisation is unknown")
    if said != "yes":
        return warning("clock", "is not synchronised", "timedatectl set-ntp true, or ask who runs this machine's NTP")
    return ok("clock", "synchronised (NTP), and not behind any of the node's files")


def check_port(what: str, host: str, port: int, answers: bool) -> Finding:
    """Check whether a port is the node's, free, or another program's."""
    if answers:
        return ok(what, f"the node answers on {port}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
    except PermissionError:
        return fail(
            what, f"{port} may not be opened by {getpass.getuser()}", "Set a port above 1023, or give it the right"
        )
    except OSError as error:
        todo = f"See who has it (ss -ltnp 'sport = :{port}'): stop that, or set another port in config.ini"
        return fail(
            what, f"{host}:{port} can not be opened ({error.strerror}), and the node does not answer there", todo
        )
    return warning(what, f"{port} is free: the node does not run", "systemctl start scarnode, or: scarnode serve")


def is_open(host: str, port: int) -> bool:
    """Return whether something listens on a port of this machine."""
    from scarnode.config.local_node import own_address

    try:
        with socket.create_connection((own_address(host), port), timeout=2):
            return True
    except OSError:
        return False


def check_certificate(settings: Settings) -> Iterator[Finding]:
    """Check how long the node's own certificate is valid."""
    if identity := settings.tls.identity():
        yield certificate_finding("certificate of [tls]", check_identity(identity))


def certificate_finding(what: str, ends: float) -> Finding:
    """Return the finding on a certificate's end."""
    day = time.strftime("%Y-%m-%d", time.gmtime(ends))
    if ends < time.time() + SOON:
        return warning(what, f"ends on {day}", "Have it renewed; the node reads it when it starts")
    return ok(what, f"valid until {day}")


def check_fonts() -> Finding:
    """Check whether names in other scripts can be drawn."""
    from PIL import ImageFont

    from scarnode.pipeline.report.fonts import NAME_FACES

    found = []
    for face in NAME_FACES:
        with suppress(OSError):
            ImageFont.truetype(face, 12)
            found.append(face)
    if not found:
        todo = "apt-get install fonts-dejavu-core fonts-noto-cjk"
        return warning("fonts", "none for names beyond plain ASCII: the picture says so in their place", todo)
    return ok("fonts", ", ".join(found))
