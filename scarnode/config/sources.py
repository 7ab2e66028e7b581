"""[source:NAME]: archives from which studies are pulled; [pull:NAME]: rules of the nightly pull."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from scarnode.config.sections import PeerSection, TlsSection
from scarnode.config.types import Section
from scarnode.dicom.query.model import CHARACTER_SETS, Archive, PullRule


def _since(value: Any) -> Any:
    """Read a number of days, or a date."""
    text = str(value).strip()
    if re.fullmatch(r"\d{1,5}", text):
        return timedelta(days=int(text))
    try:
        return datetime.strptime(text.replace("-", ""), "%Y%m%d").date()
    except ValueError:
        raise ValueError("a number of days, or a date like 2026-01-31") from None


def _time_of_day(value: Any) -> Any:
    if isinstance(value, time):
        return value
    try:
        return datetime.strptime(str(value).strip(), "%H:%M").time()
    except ValueError:
        raise ValueError("a time of day like 02:30") from None


def _known_character_set(value: str) -> str:
    if value not in CHARACTER_SETS:
        raise ValueError(f"one of {', '.join(CHARACTER_SETS)}")
    return value


class SourceSection(PeerSection):
    """[source:NAME]: an archive from which studies are queried (C-FIND) and retrieved (C-MOVE or C-GET)."""

    how: Literal["move", "get"] = "move"
    """By C-MOVE the archive sends to this node, whose address it must know; by C-GET on the node's own association."""
    character_set: Annotated[str, AfterValidator(_known_character_set)] = "ISO_IR 192"
    """Specific Character Set of queries that are not plain ASCII."""
    most_answers: Annotated[int, Field(ge=0)] = 0
    """Number of responses after which the archive stops without a message; 0: it reports the limit."""

    def archive(self, name: str, tls: TlsSection = TlsSection()) -> Archive:  # noqa: B008 (frozen)
        """Return the archive."""
        return Archive(name, self.remote_ae(tls), self.how, self.character_set, self.most_answers)


class PullSection(Section):
    """[pull:NAME]: a rule for studies that are pulled every night."""

    source: Annotated[str, Field(min_length=1)]
    modality: str = "MR"
    description: str = ""
    """Pattern of the Study Description, with * and ?; empty: any."""
    since: Annotated[timedelta | date, BeforeValidator(_since)] = timedelta(days=7)
    at: Annotated[time, BeforeValidator(_time_of_day)] = time(2, 0)
    limit: Annotated[int, Field(ge=1)] = 50
    """Most studies in a night."""
    pause_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 10.0
    """Pause between two studies."""

    def rule(self, name: str) -> PullRule:
        """Return the rule for `scarnode.dicom.query`."""
        return PullRule(
            name, self.source, self.modality, self.description, self.since, self.at, self.limit, self.pause_seconds
        )
