"""Types of values in config.ini: lists, allowed peers, ports, certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
)

from scarnode.audit.syslog import parse_url
from scarnode.dicom.scp.peers import AllowedPeer, check_ae_title, parse_allowed_peer
from scarnode.dicom.tls import check_authorities
from scarnode.pipeline.report import KINDS


def split_list(value: Any) -> Any:
    """Split a comma- or line-separated list, as config.ini writes it."""
    if isinstance(value, str):
        return tuple(word.strip() for word in value.replace("\n", ",").split(",") if word.strip())
    return value


def _allowed_peers(value: Any) -> Any:
    """Read a list of TITLE or TITLE@ADDRESS."""
    return tuple(parse_allowed_peer(word) for word in split_list(value)) if isinstance(value, str) else value


def _certificates(path: Path) -> Path:
    """Check that the TLS library can read a file of certificates."""
    check_authorities(path)
    return path


def checked_repository(url: str) -> str:
    """Check the address of an audit repository."""
    if url:
        parse_url(url)
    return url


AETitle = Annotated[str, AfterValidator(check_ae_title)]
StringList = Annotated[tuple[str, ...], BeforeValidator(split_list)]
AllowedPeers = Annotated[tuple[AllowedPeer, ...], BeforeValidator(_allowed_peers)]
CertificatesFile = Annotated[Path, AfterValidator(_certificates)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Kind = Literal[KINDS]  # type: ignore[valid-type]  # pydantic reads the tuple when it runs
Kinds = Annotated[tuple[_Kind, ...], BeforeValidator(split_list), Field(min_length=1)]


class Section(BaseModel):
    """A section of config.ini: unknown keys are errors, values do not change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)
