"""What the answer to a STOW-RS request says of an instance (PS3.18 10.5.3)."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

MEDIA_TYPES = "application/dicom+json, application/dicom+xml;q=0.5"
"""Forms in which the answer is read."""


def fate_of(body: bytes, uid: str) -> tuple[int | None, int | None]:
    """Return (FailureReason, None), or (None, WarningReason or 0) where the instance is named as stored, or two None.

    PS3.18 10.5.3.1: Store Instances Response Module.
    """
    said = _model(body)
    # OtherFailuresSequence (0008,119A): of what could not even be identified. We sent one instance: it is meant.
    for item in (*_items(said, "00081198"), *_items(said, "0008119A")):
        if _value(item, "00081155") in (uid, None):
            reason = _value(item, "00081197")
            return (reason if isinstance(reason, int) else 0x0110), None
    for item in _items(said, "00081199"):
        if _value(item, "00081155") == uid:
            warning = _value(item, "00081196")
            return None, (warning if isinstance(warning, int) else 0)
    return None, None


def _model(body: bytes) -> dict[str, Any]:
    """Return an answer in the DICOM JSON Model, whichever form it has; empty where it is none of them."""
    try:
        if body.lstrip()[:1] == b"<":
            return _from_xml(ElementTree.fromstring(body))
        model = json.loads(body)
    except (ValueError, ElementTree.ParseError, RecursionError):
        return {}
    if isinstance(model, list) and model:
        model = model[0]
    return model if isinstance(model, dict) else {}


def _from_xml(element: ElementTree.Element) -> dict[str, Any]:
    """Bring the Native DICOM Model (PS3.19 A.1) into the DICOM JSON Model, as far as a store response needs it."""
    model: dict[str, Any] = {}
    for attribute in element:
        vr = attribute.get("vr", "")
        if vr == "SQ":
            values: list[Any] = [_from_xml(item) for item in attribute if item.tag.endswith("Item")]
        else:
            texts = [(value.text or "").strip() for value in attribute]
            values = [int(text) if vr == "US" and text.isdecimal() else text for text in texts]
        model[attribute.get("tag", "")] = {"vr": vr, "Value": values}
    return model


def _items(model: dict[str, Any], tag: str) -> list[dict[str, Any]]:
    """Return the items of a sequence; whatever is not one is left out."""
    element = model.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _value(model: dict[str, Any], tag: str) -> Any:
    """Return the first value of an attribute, None where there is none."""
    element = model.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values[0] if isinstance(values, list) and values else None
