"""config.ini, read once into typed settings; every error names file, section, key, value and what is allowed."""

from __future__ import annotations

import configparser
import dataclasses
import hashlib
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from scarnode.audit import AuditTrail, Repository, Source
from scarnode.audit.syslog import parse_url
from scarnode.deliver import Destination, WebDestination
from scarnode.deliver.model import check_url
from scarnode.errors import ConfigError
from scarnode.receive.limits import Limits
from scarnode.receive.peers import Caller, check_ae_title, read_caller
from scarnode.report import KINDS, USUAL
from scarnode.stack import Rules
from scarnode.tls import Identity, IdentityError, Protection, check_authorities, check_identity


def _words(value: Any) -> Any:
    """Split a comma- or line-separated list, as config.ini writes it."""
    if isinstance(value, str):
        return tuple(word.strip() for word in value.replace("\n", ",").split(",") if word.strip())
    return value


def _callers(value: Any) -> Any:
    """Read a list of TITLE or TITLE@ADDRESS."""
    return tuple(read_caller(word) for word in _words(value)) if isinstance(value, str) else value


def _certificates(path: Path) -> Path:
    """Hold a file of certificates to what the TLS library can read."""
    check_authorities(path)
    return path


def _repository(url: str) -> str:
    """Hold an audit repository's address to what we can send to."""
    if url:
        parse_url(url)
    return url


AETitle = Annotated[str, AfterValidator(check_ae_title)]
Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
Callers = Annotated[tuple[Caller, ...], BeforeValidator(_callers)]
CertificatesFile = Annotated[Path, AfterValidator(_certificates)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Kinds = Annotated[tuple[Literal[KINDS], ...], BeforeValidator(_words), Field(min_length=1)]


class Section(BaseModel):
    """A section of config.ini: unknown keys are errors, values do not change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NodeSection(Section):
    """[node]: the AE that scanners and PACS send to."""

    ae_title: AETitle = "SCARNODE"
    host: str = "0.0.0.0"
    """Address to listen on."""
    port: Annotated[int, Field(ge=0, le=65535)] = 11112
    """0: any free port."""
    calling_ae_titles: Callers = ()
    """Who may send, and from where; empty: anyone."""
    max_associations: Annotated[int, Field(ge=1, le=400)] = Limits.max_associations
    max_associations_per_address: Annotated[int, Field(ge=1, le=400)] = Limits.max_associations_per_address
    network_timeout_seconds: Seconds = Limits.network_timeout
    """Silence in the middle of a message."""
    idle_timeout_seconds: Seconds = Limits.idle_timeout
    """Silence between two messages."""

    def limits(self) -> Limits:
        """Give what a peer may take, as the receive room wants it."""
        return Limits(
            max_associations=self.max_associations,
            max_associations_per_address=self.max_associations_per_address,
            network_timeout=self.network_timeout_seconds,
            idle_timeout=self.idle_timeout_seconds,
        )


class TlsSection(Section):
    """[tls]: what the node shows of itself, and the port where it is called by TLS."""

    certificate: Path | None = None
    """PEM file; certificates between it and the root may stand behind it."""
    private_key: Annotated[Path | None, Field(validate_default=True)] = None
    """PEM file, without a password."""
    ca_file: CertificatesFile | None = None
    """PEM file of the authorities that may vouch for peers."""
    mutual: bool = True
    """Whoever calls must show a certificate."""
    port: Port | None = None
    """Where the node is called by TLS; empty: nowhere."""
    only: bool = False
    """The port of [node] stays closed."""

    @field_validator("private_key")
    @classmethod
    def _belongs_to_certificate(cls, private_key: Path | None, info: ValidationInfo) -> Path | None:
        certificate = info.data.get("certificate")
        if (certificate is None) != (private_key is None):
            raise ValueError("certificate and private_key go together")
        if certificate is not None and private_key is not None:
            try:
                check_identity(Identity(certificate, private_key))
            except IdentityError as error:
                raise PydanticCustomError("identity", "{why}", {"key": error.key, "why": str(error)}) from None
        return private_key

    @field_validator("port")
    @classmethod
    def _has_what_it_needs(cls, port: int | None, info: ValidationInfo) -> int | None:
        if port is not None and info.data.get("private_key", ...) is None:
            raise ValueError("a port where there are certificate and private_key")
        if port is not None and info.data.get("mutual") and info.data.get("ca_file", ...) is None:
            raise ValueError("a port where there is a ca_file to check callers' certificates by, or mutual = no")
        return port

    @field_validator("only")
    @classmethod
    def _has_a_port(cls, only: bool, info: ValidationInfo) -> bool:
        if only and info.data.get("port", ...) is None:
            raise ValueError("yes where there is a port")
        return only

    def identity(self) -> Identity | None:
        """Give what the node shows of itself, where there is something."""
        return Identity(self.certificate, self.private_key) if self.certificate and self.private_key else None


class SpoolSection(Section):
    """[spool]: where received instances lie, byte for byte as they came."""

    path: Path = Path("/var/lib/scarnode/spool")
    min_free_percent: Annotated[float, Field(ge=0, le=90)] = 5.0
    min_free_gigabytes: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 2.0
    """The floor of free space is the smaller of the two; holds for the disks of results and ledger too. 0: none."""


class ResultsSection(Section):
    """[results]: where result objects lie until (and after) they are delivered."""

    path: Path = Path("/var/lib/scarnode/results")


class LedgerSection(Section):
    """[ledger]: the job database, any SQLAlchemy URL."""

    url: str = "sqlite:////var/lib/scarnode/ledger.sqlite"


class StudySection(Section):
    """[study]: when a study counts as complete, and which results wait for a person."""

    quiet_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 60.0
    """A study is complete when no instance of it arrived for this long."""
    hold_flags: Words = (
        "FEW_SLICES",
        "MISSING_SLICE",
        "CONFLICTING_CONTENT",
        "NO_HEART",
        "NO_MYOCARDIUM",
        "BAD_NULLING",
    )
    """A result with one of these flags is held until `scarnode jobs retry`."""
    urgent_calling_ae_titles: Annotated[tuple[AETitle, ...], BeforeValidator(_words)] = ()
    """A study with an image from one of these is analysed before the others that wait."""


class RetentionSection(Section):
    """[retention]: how long images and results stay on this machine once all is sent."""

    sources_days: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0
    results_days: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0
    """Counted from the last image of the study and the end of its last job. 0: for ever."""
    free_when_full: bool = False
    """Near the floor of free space (see [spool]) the oldest studies of which all is sent are deleted at any age."""


class SegmentSection(Section):
    """[segment]: the network and the processes that run it."""

    weights: Path | None = None
    """A .safetensors file with its card beside it; empty: the shipped weights."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    threads: Annotated[int, Field(ge=0, le=256)] = 0
    """CPU threads of a worker; 0: all cores shared among the workers."""
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    time_limit_seconds: Seconds = 600.0
    """A worker that takes longer over one stack is ended, and the attempt counted."""
    memory_limit_gigabytes: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """What one analysis may take on top of the loaded network; 0: any amount; empty: half of the machine's memory,
    shared among the workers, at least 2."""


class DeliverSection(Section):
    """[deliver]: how often a destination that does not take a result is asked again."""

    first_delay_seconds: Seconds = 5.0
    max_delay_seconds: Seconds = 900.0
    max_attempts: Annotated[int, Field(ge=1)] = 200
    commitment_wait_seconds: Annotated[float, Field(gt=0, le=86400)] = 3600.0
    """How long a report on a storage commitment may take; it is asked for again then, and after twice as long each."""
    commitment_max_requests: Annotated[int, Field(ge=1, le=100)] = 10


class DestinationSection(Section):
    """[destination:NAME] with host: a PACS that gets results by C-STORE."""

    host: Annotated[str, Field(min_length=1)]
    port: Port
    ae_title: AETitle
    tls: bool = False
    ca_file: CertificatesFile | None = None
    """PEM file of the authorities that may vouch for the peer; empty: that of [tls], else the public ones."""
    tls_name: str = ""
    """What the peer's certificate says it is; empty: host."""
    objects: Kinds = USUAL
    timeout_seconds: Seconds = 30.0
    commitment: bool = False
    """Whether it is asked to commit itself to keep what it was sent."""

    @field_validator("ca_file", "tls_name")
    @classmethod
    def _is_for_tls(cls, value: Any, info: ValidationInfo) -> Any:
        if value and info.data.get("tls") is False:
            raise ValueError("this key where tls = yes")
        return value

    def peer(self, name: str, tls: TlsSection = TlsSection()) -> Destination:  # noqa: B008 (frozen)
        """Give the destination as the deliver room takes it."""
        protection = Protection(tls.identity(), self.ca_file or tls.ca_file, self.tls_name) if self.tls else None
        return Destination(
            name,
            self.host,
            self.port,
            self.ae_title,
            self.objects,
            self.timeout_seconds,
            self.commitment,
            tls=protection,
        )


class WebDestinationSection(Section):
    """[destination:NAME] with url: a PACS that gets results by STOW-RS."""

    url: Annotated[str, AfterValidator(check_url)]
    user: str = ""
    """HTTP Basic authentication; empty: none."""
    password: Annotated[SecretStr, Field(validate_default=True)] = SecretStr("")
    token: SecretStr = SecretStr("")
    """Sent as bearer token; empty: none."""
    ca_file: CertificatesFile | None = None
    """PEM file of the certificate authorities that may vouch for the peer; empty: the public ones."""
    objects: Kinds = USUAL
    timeout_seconds: Seconds = 30.0

    @field_validator("password")
    @classmethod
    def _belongs_to_user(cls, password: SecretStr, info: ValidationInfo) -> SecretStr:
        if bool(password.get_secret_value()) != bool(info.data.get("user")):
            raise ValueError("user and password go together")
        return password

    @field_validator("token")
    @classmethod
    def _stands_alone(cls, token: SecretStr, info: ValidationInfo) -> SecretStr:
        value = token.get_secret_value()
        if value and info.data.get("user"):
            raise ValueError("a token, or user and password, not both")
        if not (value.isascii() and value.isprintable()):
            raise ValueError("printable ASCII")
        return token

    def peer(self, name: str, tls: TlsSection = TlsSection()) -> WebDestination:  # noqa: B008 (frozen)
        """Give the destination as the deliver room takes it."""
        password, token = self.password.get_secret_value(), self.token.get_secret_value()
        return WebDestination(
            name,
            self.url,
            self.user,
            password,
            token,
            self.ca_file,
            self.objects,
            self.timeout_seconds,
            identity=tls.identity(),
        )


class ReportSection(Section):
    """[report]: what is told of a job that came to nothing."""

    failures: bool = True
    """A job that failed for good sends its destinations an SR and a page that say so, and why."""


class AuditSection(Section):
    """[audit]: where audit messages (IHE ATNA, DICOM PS3.15 Annex A.5) go."""

    url: Annotated[str, AfterValidator(_repository)] = ""
    """syslog-tls://HOST:PORT or syslog-udp://HOST:PORT; empty: no audit messages are made."""
    ca_file: CertificatesFile | None = None
    """PEM file of the authorities that may vouch for the repository; empty: those of [tls], else the public ones."""
    source_id: Annotated[str, Field(max_length=255)] = ""
    """AuditSourceID; empty: the node's AE title."""
    enterprise_site_id: Annotated[str, Field(max_length=255)] = ""
    """AuditEnterpriseSiteID; empty: none."""

    def repository(self, tls: TlsSection) -> Repository | None:
        """Give the repository as the audit room takes it."""
        return Repository(*parse_url(self.url), tls.identity(), self.ca_file or tls.ca_file) if self.url else None


class LogSection(Section):
    """[log]: to standard error, where systemd's journal takes it up."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class Settings(BaseModel):
    """Everything that config.ini says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    node: NodeSection = NodeSection()
    tls: TlsSection = TlsSection()
    spool: SpoolSection = SpoolSection()
    results: ResultsSection = ResultsSection()
    ledger: LedgerSection = LedgerSection()
    study: StudySection = StudySection()
    retention: RetentionSection = RetentionSection()
    segment: SegmentSection = SegmentSection()
    deliver: DeliverSection = DeliverSection()
    report: ReportSection = ReportSection()
    audit: AuditSection = AuditSection()
    log: LogSection = LogSection()
    recognition: Rules = Rules()
    destinations: dict[str, DestinationSection | WebDestinationSection] = {}

    def digest(self) -> str:
        """Give the hex digest of the settings that change a result (not where it is stored or sent)."""
        return hashlib.sha256(TypeAdapter(Rules).dump_json(self.recognition)).hexdigest()

    def peers(self) -> dict[str, Destination | WebDestination]:
        """Give the destinations as the deliver room takes them."""
        return {name: section.peer(name, self.tls) for name, section in self.destinations.items()}

    def folders(self) -> dict[str, Path]:
        """Give the folders of spool, results and, where it is a file, the ledger."""
        folders = {"spool": self.spool.path, "results": self.results.path}
        if self.ledger.url.startswith("sqlite:///"):
            folders["ledger"] = Path(self.ledger.url.removeprefix("sqlite:///")).absolute().parent
        return folders

    def objects(self) -> dict[str, tuple[str, ...]]:
        """Give the kinds of result object that each destination takes."""
        return {name: destination.objects for name, destination in self.destinations.items()}

    def audit_trail(self) -> AuditTrail:
        """Give the audit trail that all processes of this node write to."""
        source = Source(self.node.ae_title, self.audit.source_id, self.audit.enterprise_site_id)
        return AuditTrail(self.audit.repository(self.tls), source, self.spool.path / "audit")

    def kinds(self) -> tuple[str, ...]:
        """Give the kinds of result object to make: the usual ones, and what any destination takes."""
        wanted = {*USUAL, *(kind for kinds in self.objects().values() for kind in kinds)}
        return tuple(kind for kind in KINDS if kind in wanted)


SECTIONS = {
    name: field.annotation
    for name, field in Settings.model_fields.items()
    if name not in ("recognition", "destinations")
}
DESTINATION = "destination:"
PEM_FILES = ("certificate", "private_key", "ca_file")
SECRETS = ("password", "token")
"""Keys whose values stand in no message."""


def read_settings(path: Path) -> Settings:
    """Read a config.ini.

    Parameters
    ----------
    path : Path
        Relative paths inside the file count from the folder the file lies in. A value
        ``SCARNODE_<SECTION>_<KEY>`` in the environment (e.g. ``SCARNODE_LEDGER_URL``, or for [destination:pacs]
        ``SCARNODE_DESTINATION_PACS_PASSWORD``) replaces the file's.

    Returns
    -------
    Settings

    Raises
    ------
    ConfigError
        Listing every fault found, each with file, section, key, value and what is allowed.
    """
    raw = _parse(path)
    faults: list[str] = []
    values: dict[str, Any] = {"destinations": {}}
    for section, items in raw.items():
        if section.startswith(DESTINATION):
            name = section.removeprefix(DESTINATION).strip()
            kind = WebDestinationSection if items.get("url") else DestinationSection
            if value := _validated(kind, section, _anchored(section, items, path.parent), path, faults):
                values["destinations"][name] = value
        elif section == "recognition":
            values[section] = _validated(Rules, section, _listed(items), path, faults)
        elif section in SECTIONS:
            values[section] = _validated(
                SECTIONS[section], section, _anchored(section, items, path.parent), path, faults
            )
        else:
            allowed = ", ".join([*SECTIONS, "recognition", DESTINATION + "NAME"])
            faults.append(f"{path}: [{section}]: no such section; allowed: {allowed}")
    if faults:
        raise ConfigError("\n".join(faults), todo="Correct the file and run: scarnode config check")
    return Settings(**values)


def _parse(path: Path) -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=(";",), default_section="\0")
    try:
        parser.read_string(path.read_text(encoding="utf-8"), source=str(path))
    except OSError as error:
        raise ConfigError(
            error.strerror or "can not be read", str(path), "Name a readable file with --config"
        ) from None
    except (configparser.Error, UnicodeDecodeError) as error:
        raise ConfigError(f"not an INI file: {error}", str(path), "Correct the line") from None
    raw = {section: dict(parser[section]) for section in parser.sections()}
    prefixes = {f"SCARNODE_{re.sub('[^A-Za-z0-9]', '_', section).upper()}_": section for section in {*SECTIONS, *raw}}
    for name, value in os.environ.items():
        fitting = [prefix for prefix in prefixes if name.startswith(prefix)]
        if fitting and value:
            prefix = max(fitting, key=len)  # of [destination:pacs] and [destination:pacs_2] the one that is meant
            raw.setdefault(prefixes[prefix], {})[name.removeprefix(prefix).lower()] = value
    return raw


def _anchored(section: str, items: dict[str, str], folder: Path) -> dict[str, Any]:
    """Resolve relative paths, a SQLite file's too, against the folder of config.ini; drop empty values."""
    anchored: dict[str, Any] = {key: value for key, value in items.items() if value != ""}
    if section in ("spool", "results") and "path" in anchored:
        anchored["path"] = folder / anchored["path"]
    if section.startswith(DESTINATION) or section in ("tls", "audit"):
        anchored |= {key: folder / value for key, value in anchored.items() if key in PEM_FILES}
    if section == "segment" and "weights" in anchored:
        anchored["weights"] = folder / anchored["weights"]
    if section == "ledger" and anchored.get("url", "").startswith("sqlite:///"):
        anchored["url"] = "sqlite:///" + str((folder / anchored["url"].removeprefix("sqlite:///")).absolute())
    return anchored


def _listed(items: dict[str, str]) -> dict[str, Any]:
    """Give Rules' patterns one element per line: a pattern may hold commas."""
    lists = {field.name for field in dataclasses.fields(Rules) if str(field.type).startswith("tuple")}
    return {
        key: tuple(filter(None, map(str.strip, value.splitlines()))) if key in lists else value
        for key, value in items.items()
    }


def _validated(kind: Any, section: str, items: dict[str, Any], path: Path, faults: list[str]) -> Any:
    """Give the section as its type, or None after noting each fault."""
    allowed = [field.name for field in dataclasses.fields(Rules)] if kind is Rules else list(kind.model_fields)
    known = {key: value for key, value in items.items() if key in allowed}
    faults += [
        f"{path}: [{section}] {key}: no such key; allowed: {', '.join(allowed)}" for key in items if key not in known
    ]
    try:
        return TypeAdapter(kind).validate_python(known)
    except ConfigError as error:  # from Rules
        faults.append(f"{path}: {error}")
    except ValidationError as error:
        for fault in error.errors():
            key = fault.get("ctx", {}).get("key") or (str(fault["loc"][0]) if fault["loc"] else "")
            if fault["type"] == "missing":
                faults.append(f"{path}: [{section}] {key}: is missing")
            else:
                message = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
                value = "(secret)" if key in SECRETS else repr(items.get(key))
                faults.append(f"{path}: [{section}] {key} = {value}: allowed: {message}")
    return None
