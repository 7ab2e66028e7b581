"""The sections of config.ini, one class each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from scarnode.audit import Repository
from scarnode.audit.syslog import parse_url
from scarnode.config.types import (
    AETitle,
    AllowedPeers,
    CertificatesFile,
    Port,
    Seconds,
    Section,
    StringList,
    checked_repository,
    split_list,
)
from scarnode.dicom.scp.limits import Limits
from scarnode.dicom.tls import Identity, IdentityError, Protection, check_identity
from scarnode.util.disk import FreeSpaceLimit


class NodeSection(Section):
    """[node]: the AE that scanners and PACS send to."""

    ae_title: AETitle = "SCARNODE"
    host: str = "0.0.0.0"
    """Address to listen on."""
    port: Annotated[int, Field(ge=0, le=65535)] = 11112
    """0: any free port."""
    calling_ae_titles: AllowedPeers = ()
    """Who may send, and from where; empty: anyone."""
    max_associations: Annotated[int, Field(ge=1, le=400)] = Limits.max_associations
    max_associations_per_address: Annotated[int, Field(ge=1, le=400)] = Limits.max_associations_per_address
    network_timeout_seconds: Seconds = Limits.network_timeout
    """Silence in the middle of a message."""
    idle_timeout_seconds: Seconds = Limits.idle_timeout
    """Silence between two messages."""
    direct_store: bool = True
    """Images take the short way from the line into the spool; no: through pynetdicom, like all other messages."""

    def limits(self) -> Limits:
        """Return what a peer may take, as the receive room wants it."""
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
        """Return what the node shows of itself, where there is something."""
        return Identity(self.certificate, self.private_key) if self.certificate and self.private_key else None


class SpoolSection(Section):
    """[spool]: where received instances lie, byte for byte as they came."""

    path: Path = Path("/var/lib/scarnode/spool")
    min_free_percent: Annotated[float, Field(ge=0, le=90)] = 5.0
    min_free_gigabytes: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 2.0
    """The floor of free space is the smaller of the two; holds for the disks of results and ledger too. 0: none."""

    def free_space_limit(self) -> FreeSpaceLimit:
        """Return the limit of free space as the spool takes it."""
        return FreeSpaceLimit(self.min_free_percent, self.min_free_gigabytes)


class ResultsSection(Section):
    """[results]: where result objects lie until (and after) they are delivered."""

    path: Path = Path("/var/lib/scarnode/results")


class LedgerSection(Section):
    """[ledger]: the job database, SQLite or PostgreSQL, as SQLAlchemy writes it."""

    url: str = "sqlite:////var/lib/scarnode/ledger.sqlite"


class ClusterSection(Section):
    """[cluster]: what several machines on one ledger need besides (docs/cluster.md)."""

    broker: Annotated[str, Field(pattern=r"^((rediss?|amqps?)://.+)?$")] = ""
    """Redis or RabbitMQ, over which a new job is told to other machines at once; empty: they look every second."""


class StudySection(Section):
    """[study]: when a study counts as complete, and which results wait for a person."""

    quiet_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 60.0
    """A study is complete when no instance of it arrived for this long."""
    hold_flags: StringList = (
        "FEW_SLICES",
        "MISSING_SLICE",
        "CONFLICTING_CONTENT",
        "FRAMES_OF_REFERENCE",
        "NO_HEART",
        "NO_MYOCARDIUM",
        "BAD_NULLING",
    )
    """A result with one of these flags is held until `scarnode jobs retry`."""
    urgent_calling_ae_titles: Annotated[tuple[AETitle, ...], BeforeValidator(split_list)] = ()
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


class ReportSection(Section):
    """[report]: what is told of a job that came to nothing."""

    failures: bool = True
    """A job that failed for good sends its destinations an SR and a page that say so, and why."""


class AuditSection(Section):
    """[audit]: where audit messages (IHE ATNA, DICOM PS3.15 Annex A.5) go."""

    url: Annotated[str, AfterValidator(checked_repository)] = ""
    """syslog-tls://HOST:PORT or syslog-udp://HOST:PORT; empty: no audit messages are made."""
    ca_file: CertificatesFile | None = None
    """PEM file of the authorities that may vouch for the repository; empty: those of [tls], else the public ones."""
    source_id: Annotated[str, Field(max_length=255)] = ""
    """AuditSourceID; empty: the node's AE title."""
    enterprise_site_id: Annotated[str, Field(max_length=255)] = ""
    """AuditEnterpriseSiteID; empty: none."""

    def repository(self, tls: TlsSection) -> Repository | None:
        """Return the repository as the audit room takes it."""
        return Repository(*parse_url(self.url), tls.identity(), self.ca_file or tls.ca_file) if self.url else None


class LogSection(Section):
    """[log]: to standard error, where systemd's journal takes it up."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class PeerSection(Section):
    """What [destination:NAME] and [source:NAME] say of an AE that is called by DIMSE."""

    host: Annotated[str, Field(min_length=1)]
    port: Port
    ae_title: AETitle
    tls: bool = False
    ca_file: CertificatesFile | None = None
    """PEM file of the authorities that may vouch for the peer; empty: that of [tls], else the public ones."""
    tls_name: str = ""
    """What the peer's certificate says it is; empty: host."""
    timeout_seconds: Seconds = 30.0

    @field_validator("ca_file", "tls_name")
    @classmethod
    def _is_for_tls(cls, value: Any, info: ValidationInfo) -> Any:
        if value and info.data.get("tls") is False:
            raise ValueError("this key where tls = yes")
        return value

    def protection(self, tls: TlsSection) -> Protection | None:
        """Return how the peer is spoken to by TLS, where it is."""
        return Protection(tls.identity(), self.ca_file or tls.ca_file, self.tls_name) if self.tls else None
