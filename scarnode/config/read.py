"""Reads config.ini into typed settings. Every error names file, section, key, value and the allowed values."""

from __future__ import annotations

import configparser
import dataclasses
import os
import re
from pathlib import Path
from typing import Any

from pydantic import (
    TypeAdapter,
    ValidationError,
)

from scarnode.config.destinations import kind_of
from scarnode.config.settings import Settings
from scarnode.config.sources import PullSection, SourceSection
from scarnode.config.types import Section
from scarnode.pipeline.stack import Rules
from scarnode.util.errors import ConfigError

SECTIONS = {
    name: field.annotation
    for name, field in Settings.model_fields.items()
    if name not in ("recognition", "destinations", "sources", "pulls")
}
NAMED = {"destination:": "destinations", "source:": "sources", "pull:": "pulls"}
"""Prefixes of sections that may occur several times, and their attributes in `Settings`."""
PEM_FILES = ("certificate", "private_key", "ca_file")
SECRETS = ("password", "token", "users", "mail_password", "webhook_secret", "webhook_url", "broker")
"""Keys whose values appear in no message."""


def read_settings(path: Path) -> Settings:
    """Read a config.ini.

    Parameters
    ----------
    path : Path
        Relative paths in the file are relative to the file's folder. A value
        ``SCARNODE_<SECTION>_<KEY>`` in the environment (e.g. ``SCARNODE_LEDGER_URL``, or for [destination:pacs]
        ``SCARNODE_DESTINATION_PACS_PASSWORD``) replaces the file's.

    Returns
    -------
    Settings

    Raises
    ------
    ConfigError
        Listing every fault, each with file, section, key, value and the allowed values.
    """
    raw = _parse(path)
    faults: list[str] = []
    values: dict[str, Any] = {field: {} for field in NAMED.values()}
    for section, items in raw.items():
        prefix = section.partition(":")[0] + ":"
        if prefix in NAMED:
            name = section.removeprefix(prefix).strip()
            kind = _kind(prefix, items)
            if value := _validated(kind, section, _anchored(section, items, path.parent), path, faults):
                values[NAMED[prefix]][name] = value
        elif section == "recognition":
            values[section] = _validated(Rules, section, _listed(items), path, faults)
        elif section in SECTIONS:
            values[section] = _validated(
                SECTIONS[section], section, _anchored(section, items, path.parent), path, faults
            )
        else:
            allowed = ", ".join([*SECTIONS, "recognition", *(prefix + "NAME" for prefix in NAMED)])
            faults.append(f"{path}: [{section}]: no such section; allowed: {allowed}")
    web, tls = values.get("web"), values.get("tls")
    if web and web.tls and not (tls and tls.identity()):
        faults.append(f"{path}: [web] tls = 'yes': allowed: yes where [tls] has certificate and private_key")
    for name, rule in values["pulls"].items():
        if rule.source not in values["sources"]:
            known = ", ".join(values["sources"]) or "there is no [source:NAME] yet"
            faults.append(f"{path}: [pull:{name}] source = {rule.source!r}: allowed: {known}")
    if faults:
        raise ConfigError("\n".join(faults), todo="Correct the file and run: scarnode config check")
    return Settings(**values)


def _kind(prefix: str, items: dict[str, str]) -> type[Section]:
    """Return the type of a named section."""
    if prefix == "destination:":
        return kind_of(items)
    return SourceSection if prefix == "source:" else PullSection


def parse_file(path: Path) -> dict[str, dict[str, str]]:
    """Return the sections of a config.ini with their keys and values as text, without the environment's.

    Raises
    ------
    ConfigError
        It can not be read, or is no INI file.
    """
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=(";",), default_section="\0")
    try:
        parser.read_string(path.read_text(encoding="utf-8"), source=str(path))
    except OSError as error:
        raise ConfigError(
            error.strerror or "can not be read", str(path), "Name a readable file with --config"
        ) from None
    except (configparser.Error, UnicodeDecodeError) as error:
        raise ConfigError(f"not an INI file: {error}", str(path), "Correct the line") from None
    return {section: dict(parser[section]) for section in parser.sections()}


def _parse(path: Path) -> dict[str, dict[str, str]]:
    raw = parse_file(path)
    prefixes = {f"SCARNODE_{re.sub('[^A-Za-z0-9]', '_', section).upper()}_": section for section in {*SECTIONS, *raw}}
    for name, value in os.environ.items():
        fitting = [prefix for prefix in prefixes if name.startswith(prefix)]
        if fitting and value:
            prefix = max(fitting, key=len)  # tells [destination:pacs] from [destination:pacs_2]
            raw.setdefault(prefixes[prefix], {})[name.removeprefix(prefix).lower()] = value
    return raw


def _anchored(section: str, items: dict[str, str], folder: Path) -> dict[str, Any]:
    """Resolve relative paths, also of a SQLite file, against the folder of config.ini. Drop empty values."""
    anchored: dict[str, Any] = {key: value for key, value in items.items() if value != ""}
    if section in ("spool", "results") and "path" in anchored:
        anchored["path"] = folder / anchored["path"]
    if section.startswith(("destination:", "source:")) or section in ("tls", "audit", "notify"):
        anchored |= {key: folder / value for key, value in anchored.items() if key in PEM_FILES}
    if section == "segment" and "weights" in anchored:
        anchored["weights"] = folder / anchored["weights"]
    if section == "ledger" and anchored.get("url", "").startswith("sqlite:///"):
        anchored["url"] = "sqlite:///" + str((folder / anchored["url"].removeprefix("sqlite:///")).absolute())
    return anchored


def _listed(items: dict[str, str]) -> dict[str, Any]:
    """Return Rules' patterns one element per line: a pattern may hold commas."""
    lists = {field.name for field in dataclasses.fields(Rules) if str(field.type).startswith("tuple")}
    return {
        key: tuple(filter(None, map(str.strip, value.splitlines()))) if key in lists else value
        for key, value in items.items()
    }


def _validated(kind: Any, section: str, items: dict[str, Any], path: Path, faults: list[str]) -> Any:
    """Return the section as its type, or None after adding its faults to the list."""
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
