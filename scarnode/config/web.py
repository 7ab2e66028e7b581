"""[web]: the node's web pages."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from scarnode.config.accounts import Account, read_account
from scarnode.config.types import Section, StringList


def _address(value: str) -> str:
    """Check that a value is an IP address."""
    try:
        return str(ipaddress.ip_address(value)) if value else ""
    except ValueError:
        raise ValueError("an IP address, e.g. 127.0.0.1 (this machine only)") from None


def _accounts(value: Any) -> Any:
    """Read one account a line."""
    if not isinstance(value, str):
        return value
    found = tuple(read_account(line) for line in value.splitlines() if line.strip())
    if len({account.name for account in found}) < len(found):
        raise ValueError("every name once")
    return found


def _names(names: tuple[str, ...]) -> tuple[str, ...]:
    if not all(re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", name) for name in names):
        raise ValueError("host names, without port")
    return tuple(name.lower() for name in names)


class WebSection(Section):
    """[web]: pages, JSON API, metrics and health, for browsers on this machine, or elsewhere by TLS."""

    port: Annotated[int, Field(ge=0, le=65535)] = 8104
    """0: nothing is served."""
    tls: bool = False
    """Whether it is served by TLS, with the certificate of [tls]."""
    proxy: Annotated[str, AfterValidator(_address)] = ""
    """Address of a reverse proxy with TLS: other machines are refused; empty: none."""
    host: Annotated[str, AfterValidator(_address)] = "127.0.0.1"
    """Address to listen on."""
    names: Annotated[StringList, AfterValidator(_names)] = ()
    """Host names of the pages, besides localhost, this machine's name and IP addresses."""
    users: Annotated[tuple[Account, ...], BeforeValidator(_accounts)] = Field(default=(), repr=False)
    """Who may log in by password, one ``NAME ROLE HASH`` a line."""

    @field_validator("proxy")
    @classmethod
    def _excludes_tls(cls, proxy: str, info: ValidationInfo) -> str:
        if proxy and info.data.get("tls"):
            raise ValueError("a proxy, or tls = yes, not both")
        return proxy

    @field_validator("host")
    @classmethod
    def _is_private(cls, host: str, info: ValidationInfo) -> str:
        """Check that patient data and passwords do not cross a network without TLS."""
        if not (ipaddress.ip_address(host).is_loopback or info.data.get("tls") or info.data.get("proxy")):
            raise ValueError("127.0.0.1 or ::1; another address with tls = yes, or with the address of a proxy")
        return host

    @property
    def secure(self) -> bool:
        """Return whether browsers use https."""
        return self.tls or bool(self.proxy)
