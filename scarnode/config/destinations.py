"""[destination:NAME]: where results go, by C-STORE or by STOW-RS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from scarnode.config.sections import PeerSection, TlsSection
from scarnode.config.types import CertificatesFile, Kinds, Seconds, Section
from scarnode.dicom.scu import DimseDestination
from scarnode.dicom.web import WebDestination
from scarnode.dicom.web.stow import check_url
from scarnode.pipeline.report import USUAL


class DestinationSection(PeerSection):
    """[destination:NAME] with host: a PACS that gets results by C-STORE."""

    objects: Kinds = USUAL
    commitment: bool = False
    """Whether storage commitment is requested."""

    def peer(self, name: str, tls: TlsSection = TlsSection()) -> DimseDestination:  # noqa: B008 (frozen)
        """Return the destination."""
        return DimseDestination(name, self.remote_ae(tls), self.objects, self.commitment)


class WebDestinationSection(Section):
    """[destination:NAME] with url: a PACS that gets results by STOW-RS."""

    url: Annotated[str, AfterValidator(check_url)]
    user: str = ""
    """HTTP Basic authentication; empty: none."""
    password: Annotated[SecretStr, Field(validate_default=True)] = SecretStr("")
    token: SecretStr = SecretStr("")
    """Sent as bearer token; empty: none."""
    ca_file: CertificatesFile | None = None
    """PEM file of the certificate authorities that are trusted for the peer; empty: the public ones."""
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
        """Return the destination."""
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


AnyDestinationSection = DestinationSection | WebDestinationSection
"""A section of any kind of destination."""


def kind_of(items: Mapping[str, str]) -> type[AnyDestinationSection]:
    """Return the class of a section [destination:NAME] by its keys."""
    return WebDestinationSection if items.get("url") else DestinationSection
