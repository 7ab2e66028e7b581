"""All settings of config.ini, as one value."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import (
    BaseModel,
    ConfigDict,
    TypeAdapter,
)

from scarnode.audit import AuditTrail, Source
from scarnode.config.destinations import AnyDestinationSection
from scarnode.config.notify import NotifySection
from scarnode.config.sections import (
    AuditSection,
    ClusterSection,
    DeliverSection,
    LedgerSection,
    LogSection,
    NodeSection,
    ReportSection,
    ResultsSection,
    RetentionSection,
    SegmentSection,
    SpoolSection,
    StudySection,
    TlsSection,
)
from scarnode.config.sources import PullSection, SourceSection
from scarnode.config.web import WebSection
from scarnode.dicom.query.model import Archive, PullRule
from scarnode.dicom.scu import Destination
from scarnode.pipeline.report import KINDS, USUAL
from scarnode.pipeline.stack import Rules

_RULES = TypeAdapter(Rules)


class Settings(BaseModel):
    """All settings of config.ini."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    node: NodeSection = NodeSection()
    tls: TlsSection = TlsSection()
    spool: SpoolSection = SpoolSection()
    results: ResultsSection = ResultsSection()
    ledger: LedgerSection = LedgerSection()
    cluster: ClusterSection = ClusterSection()
    study: StudySection = StudySection()
    retention: RetentionSection = RetentionSection()
    segment: SegmentSection = SegmentSection()
    deliver: DeliverSection = DeliverSection()
    report: ReportSection = ReportSection()
    web: WebSection = WebSection()
    notify: NotifySection = NotifySection()
    audit: AuditSection = AuditSection()
    log: LogSection = LogSection()
    recognition: Rules = Rules()
    destinations: dict[str, AnyDestinationSection] = {}
    sources: dict[str, SourceSection] = {}
    pulls: dict[str, PullSection] = {}

    def digest(self) -> str:
        """Return the hex digest of the settings that change a result (not where it is stored or sent)."""
        return hashlib.sha256(_RULES.dump_json(self.recognition)).hexdigest()

    def peers(self) -> dict[str, Destination]:
        """Return the destinations."""
        return {name: section.peer(name, self.tls) for name, section in self.destinations.items()}

    def archives(self) -> dict[str, Archive]:
        """Return the sources."""
        return {name: section.archive(name, self.tls) for name, section in self.sources.items()}

    def pull_rules(self) -> dict[str, PullRule]:
        """Return the nightly rules."""
        return {name: section.rule(name) for name, section in self.pulls.items()}

    def folders(self) -> dict[str, Path]:
        """Return the folders of spool, results and, where it is a file, the ledger."""
        folders = {"spool": self.spool.path, "results": self.results.path}
        if self.ledger.url.startswith("sqlite:///"):
            folders["ledger"] = Path(self.ledger.url.removeprefix("sqlite:///")).absolute().parent
        return folders

    def objects(self) -> dict[str, tuple[str, ...]]:
        """Return the kinds of result object that each destination gets."""
        return {name: destination.objects for name, destination in self.destinations.items()}

    def audit_trail(self) -> AuditTrail:
        """Return the audit trail that all processes of this node write to."""
        source = Source(self.node.ae_title, self.audit.source_id, self.audit.enterprise_site_id)
        return AuditTrail(self.audit.repository(self.tls), source, self.spool.path / "audit")

    def kinds(self) -> tuple[str, ...]:
        """Return the kinds of result object to make: the usual ones, and those that any destination gets."""
        wanted = {*USUAL, *(kind for kinds in self.objects().values() for kind in kinds)}
        return tuple(kind for kind in KINDS if kind in wanted)
