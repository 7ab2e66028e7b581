"""config.ini, read once into typed settings."""

from scarnode.config.destinations import DestinationSection, WebDestinationSection
from scarnode.config.notify import NotifySection
from scarnode.config.read import SECTIONS, read_settings
from scarnode.config.sections import (
    AuditSection,
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
from scarnode.config.settings import Settings
from scarnode.config.sources import PullSection, SourceSection
from scarnode.config.web import WebSection

__all__ = [
    "SECTIONS",
    "AuditSection",
    "DeliverSection",
    "DestinationSection",
    "LedgerSection",
    "LogSection",
    "NodeSection",
    "NotifySection",
    "PullSection",
    "ReportSection",
    "ResultsSection",
    "RetentionSection",
    "SegmentSection",
    "Settings",
    "SourceSection",
    "SpoolSection",
    "StudySection",
    "TlsSection",
    "WebDestinationSection",
    "WebSection",
    "read_settings",
]
