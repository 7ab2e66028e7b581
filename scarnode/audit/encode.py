"""An audit message as XML, by the schema of DICOM PS3.15 A.5.1."""

from __future__ import annotations

import unicodedata
from base64 import b64encode
from ipaddress import ip_address
from xml.etree.ElementTree import Element, SubElement, tostring

from scarnode.audit.model import NOT_KNOWN, Code, Message, Participant, ParticipantObject, Source

DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>'

APPLICATION_SERVER = "4"
"""AuditSourceTypeCode (A.5.1.2.1)."""

MACHINE_NAME, IP_ADDRESS = "1", "2"
"""NetworkAccessPointTypeCode."""

_LONGEST = 1024
"""Most characters of a value. A longer value is an attack, not a name."""


def to_xml(message: Message, source: Source) -> bytes:
    """Write an audit message.

    Parameters
    ----------
    message : Message
        Its texts come from outside. Characters that XML 1.0 can not hold (control characters, lone surrogates) become
        U+FFFD.
    source : Source

    Returns
    -------
    bytes
        UTF-8, on one line.
    """
    root = Element("AuditMessage")
    _event(root, message)
    for participant in message.participants:
        _participant(root, participant)
    identification = SubElement(root, "AuditSourceIdentification")
    if source.enterprise_site_id:
        _set(identification, "AuditEnterpriseSiteID", source.enterprise_site_id)
    _set(identification, "AuditSourceID", source.source_id or source.ae_title)
    SubElement(identification, "AuditSourceTypeCode").set("csd-code", APPLICATION_SERVER)
    for thing in message.objects:
        _object(root, thing)
    return DECLARATION + tostring(root, encoding="utf-8", xml_declaration=False)


def _event(root: Element, message: Message) -> None:
    event = SubElement(root, "EventIdentification")
    _set(event, "EventActionCode", message.action)
    _set(event, "EventDateTime", message.at.isoformat(timespec="milliseconds"))
    _set(event, "EventOutcomeIndicator", str(int(message.outcome)))
    _code(event, "EventID", message.event)
    for code in message.types:
        _code(event, "EventTypeCode", code)
    if message.description:
        SubElement(event, "EventOutcomeDescription").text = _clean(message.description)


def _participant(root: Element, participant: Participant) -> None:
    element = SubElement(root, "ActiveParticipant")
    _set(element, "UserID", participant.user_id or NOT_KNOWN)
    if participant.ae_title:
        _set(element, "AlternativeUserID", f"AETITLES={participant.ae_title}")
    if participant.user_name:
        _set(element, "UserName", participant.user_name)
    _set(element, "UserIsRequestor", "true" if participant.requestor else "false")
    if participant.address:
        _set(element, "NetworkAccessPointID", participant.address)
        _set(element, "NetworkAccessPointTypeCode", IP_ADDRESS if _is_ip(participant.address) else MACHINE_NAME)
    for role in participant.roles:
        _code(element, "RoleIDCode", role)
    if participant.media:
        _code(SubElement(element, "MediaIdentifier"), "MediaType", participant.media)


def _object(root: Element, thing: ParticipantObject) -> None:
    element = SubElement(root, "ParticipantObjectIdentification")
    _set(element, "ParticipantObjectID", thing.id or NOT_KNOWN)
    _set(element, "ParticipantObjectTypeCode", thing.type_code)
    _set(element, "ParticipantObjectTypeCodeRole", thing.role)
    _code(element, "ParticipantObjectIDTypeCode", thing.id_type)
    SubElement(element, "ParticipantObjectName").text = _clean(thing.name or NOT_KNOWN)
    for kind, value in thing.details:
        detail = SubElement(element, "ParticipantObjectDetail")
        _set(detail, "type", kind)
        detail.set("value", b64encode(_clean(value).encode()).decode())
    if thing.accession_number or thing.sop_classes:
        description = SubElement(element, "ParticipantObjectDescription")
        if thing.accession_number:
            _set(SubElement(description, "Accession"), "Number", thing.accession_number)
        for uid, count in thing.sop_classes:
            sop_class = SubElement(description, "SOPClass")
            _set(sop_class, "UID", uid)
            _set(sop_class, "NumberOfInstances", str(count))


def _code(parent: Element, name: str, code: Code) -> None:
    element = SubElement(parent, name)
    element.set("csd-code", code.value)
    element.set("codeSystemName", code.scheme)
    element.set("originalText", code.meaning)


def _set(element: Element, name: str, value: str) -> None:
    element.set(name, _clean(value))


def _clean(text: str) -> str:
    """Replace control characters, lone surrogates and Unicode's noncharacters."""
    return "".join(
        "\ufffd" if unicodedata.category(c) in ("Cc", "Cs") or ord(c) & 0xFFFE == 0xFFFE else c for c in text[:_LONGEST]
    )


def _is_ip(address: str) -> bool:
    try:
        ip_address(address)
    except ValueError:
        return False
    return True
