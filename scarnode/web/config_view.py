"""The settings as the node read them, for the page that shows them: without secrets."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, SecretStr
from sqlalchemy import make_url

from scarnode.config import Settings
from scarnode.config.accounts import Account

HIDDEN = "(hidden)"


@dataclass(frozen=True)
class SectionView:
    """A section: its name as in config.ini, its keys and values."""

    name: str
    values: dict[str, str]


def view_settings(settings: Settings) -> list[SectionView]:
    """Return every section with its values as the node read them."""
    views = []
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, dict):  # destinations, sources, pulls: [destination:NAME] ...
            views += [SectionView(f"{name.removesuffix('s')}:{key}", _values(one)) for key, one in value.items()]
        else:
            views.append(SectionView(name, _values(value)))
    return views


def _values(section: Any) -> dict[str, str]:
    if isinstance(section, BaseModel):
        names = list(type(section).model_fields)
    else:
        names = [field.name for field in dataclasses.fields(section)]
    return {name: _written(name, getattr(section, name)) for name in names}


def _written(name: str, value: Any) -> str:
    """Format a value as in config.ini. Passwords, tokens, hashes, and passwords in URLs are left out."""
    match value:
        case SecretStr():
            text = HIDDEN if value.get_secret_value() else ""
        case Account():
            text = f"{value.name} {value.role.value} {HIDDEN}"
        case bool():
            text = "yes" if value else "no"
        case tuple() | list():
            text = "\n".join(_written(name, one) for one in value)
        case Enum():
            text = str(value.value)
        case float():
            text = f"{value:g}"
        case None:
            text = ""
        case _:
            text = _address(name, str(value)) if name.endswith("url") or name == "broker" else str(value)
    return text


def _address(name: str, url: str) -> str:
    """Format a URL without user and password. A webhook's path is a secret too."""
    if not url or not url.startswith(("http://", "https://", "syslog-")):
        return make_url(url).render_as_string(hide_password=True) if url else ""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    if name == "webhook_url":
        return f"{parts.scheme}://{host}/{HIDDEN}"
    return urlunsplit(parts._replace(netloc=f"{HIDDEN}@{host}" if "@" in parts.netloc else host))
