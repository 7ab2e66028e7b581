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
from scarnode.dicom.scu.remote import RemoteAE
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
    """Which AE titles may send, and from where; empty: all."""
    max_associations: Annotated[int, Field(ge=1, le=400)] = Limits.max_associations
    max_associations_per_address: Annotated[int, Field(ge=1, le=400)] = Limits.max_associations_per_address
    network_timeout_seconds: Seconds = Limits.network_timeout
    """Longest silence in the middle of a message."""
    idle_timeout_seconds: Seconds = Limits.idle_timeout
    """Longest silence between two messages."""
    direct_store: bool = True
    """Images are stored by the fast C-STORE path; no: by pynetdicom, like all other messages."""

    def limits(self) -> Limits:
        """Return the limits of a peer for `scarnode.dicom.scp`."""
        return Limits(
            max_associations=self.max_associations,
            max_associations_per_address=self.max_associations_per_address,
            network_timeout=self.network_timeout_seconds,
            idle_timeout=self.idle_timeout_seconds,
        )


class TlsSection(Section):
    """[tls]: the node's certificate, and its TLS port."""

    certificate: Path | None = None
    """PEM file; intermediate certificates may follow in it."""
    private_key: Annotated[Path | None, Field(validate_default=True)] = None
    """PEM file, without a password."""
    ca_file: CertificatesFile | None = None
    """PEM file of the certificate authorities that are trusted for peers."""
    mutual: bool = True
    """Calling peers must show a certificate."""
    port: Port | None = None
    """Port of TLS associations; empty: none."""
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
        """Return the node's certificate and key; None without TLS."""
        return Identity(self.certificate, self.private_key) if self.certificate and self.private_key else None


class SpoolSection(Section):
    """[spool]: the folder of received instances, byte for byte as they came."""

    path: Path = Path("/var/lib/scarnode/spool")
    min_free_percent: Annotated[float, Field(ge=0, le=90)] = 5.0
    min_free_gigabytes: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 2.0
    """The limit of free space is the smaller of the two. It holds for the disks of results and ledger too. 0: none."""

    def free_space_limit(self) -> FreeSpaceLimit:
        """Return the limit of free space as the spool takes it."""
        return FreeSpaceLimit(self.min_free_percent, self.min_free_gigabytes)


class ResultsSection(Section):
    """[results]: the folder of result objects, before and after their delivery."""

    path: Path = Path("/var/lib/scarnode/results")


class LedgerSection(Section):
    """[ledger]: the job database, SQLite or PostgreSQL, as SQLAlchemy writes it."""

    url: str = "sqlite:////var/lib/scarnode/ledger.sqlite"


class ClusterSection(Section):
    """[cluster]: settings of several machines on one ledger (docs/cluster.md)."""

    broker: Annotated[str, Field(pattern=r"^((rediss?|amqps?)://.+)?$")] = ""
    """Redis or RabbitMQ, which notifies other machines of a new job at once; empty: they poll every second."""


class StudySection(Section):
    """[study]: when a study is complete, and which results are held."""

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
    """A study with an image from one of these AE titles is analysed before others."""


class RetentionSection(Section):
    """[retention]: how long images and results are kept on this machine once everything is sent."""

    sources_days: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0
    results_days: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0
    """Counted from the last image of the study and the end of its last job. 0: for ever."""
    free_when_full: bool = False
    """Near the limit of free space (see [spool]) the oldest studies that are sent are deleted, whatever their age."""


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
    """A worker that takes longer for one stack is killed, and the attempt counts."""
    memory_limit_gigabytes: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Memory of one analysis beside the loaded network; 0: no limit; empty: half of the machine's memory, shared among
    the workers, at least 2."""


class DeliverSection(Section):
    """[deliver]: how often a failed delivery is tried again."""

    first_delay_seconds: Seconds = 5.0
    max_delay_seconds: Seconds = 900.0
    max_attempts: Annotated[int, Field(ge=1)] = 200
    commitment_wait_seconds: Annotated[float, Field(gt=0, le=86400)] = 3600.0
    """How long a storage commitment report may take. Then it is requested again, each time after twice as long."""
    commitment_max_requests: Annotated[int, Field(ge=1, le=100)] = 10


class ReportSection(Section):
    """[report]: the report of a failed job."""

    failures: bool = True
    """A job that failed for good sends an SR and a report page with the reason."""


class AuditSection(Section):
    """[audit]: the repository of audit messages (IHE ATNA, DICOM PS3.15 Annex A.5)."""

    url: Annotated[str, AfterValidator(checked_repository)] = ""
    """syslog-tls://HOST:PORT or syslog-udp://HOST:PORT; empty: no audit messages are made."""
    ca_file: CertificatesFile | None = None
    """PEM file of the certificate authorities trusted for the repository; empty: that of [tls], else public ones."""
    source_id: Annotated[str, Field(max_length=255)] = ""
    """AuditSourceID; empty: the node's AE title."""
    enterprise_site_id: Annotated[str, Field(max_length=255)] = ""
    """AuditEnterpriseSiteID; empty: none."""

    def repository(self, tls: TlsSection) -> Repository | None:
        """Return the repository for `scarnode.audit`."""
        return Repository(*parse_url(self.url), tls.identity(), self.ca_file or tls.ca_file) if self.url else None


class LogSection(Section):
    """[log]: the log on standard error, which systemd's journal records."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class PeerSection(Section):
    """Keys that [destination:NAME] and [source:NAME] share: an AE that is called by DIMSE."""

    host: Annotated[str, Field(min_length=1)]
    port: Port
    ae_title: AETitle
    tls: bool = False
    ca_file: CertificatesFile | None = None
    """PEM file of the certificate authorities trusted for the peer; empty: that of [tls], else the public ones."""
    tls_name: str = ""
    """Host name in the peer's certificate; empty: host."""
    timeout_seconds: Seconds = 30.0

    @field_validator("ca_file", "tls_name")
    @classmethod
    def _is_for_tls(cls, value: Any, info: ValidationInfo) -> Any:
        if value and info.data.get("tls") is False:
            raise ValueError("this key where tls = yes")
        return value

    def protection(self, tls: TlsSection) -> Protection | None:
        """Return the TLS settings for the peer; None without TLS."""
        return Protection(tls.identity(), self.ca_file or tls.ca_file, self.tls_name) if self.tls else None

    def remote_ae(self, tls: TlsSection) -> RemoteAE:
        """Return the AE, and how it is reached."""
        return RemoteAE(self.host, self.port, self.ae_title, self.timeout_seconds, self.protection(tls))
