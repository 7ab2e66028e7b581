"""Every audit message we can make is one by the schema of DICOM PS3.15 A.5.1, whatever the patient is called."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from base64 import b64decode
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scarnode.audit import Participant, Source, Subject, events
from scarnode.audit.encode import to_xml
from scarnode.audit.model import Message, Outcome
from scarnode.audit.subject import read_subject
from tests.harness.peers import make_object
from tests.harness.repository import assert_valid

MR = "1.2.840.10008.5.1.4.1.1.4"
SCANNER = Participant("SCANNER", ae_title="SCANNER", address="10.0.0.7")
READER = Participant("jane@ward", user_name="jane", address="ward")


def all_messages(source: Source, subject: Subject, peer: Participant, text: str) -> list[Message]:
    """Give one of each kind."""
    return [
        events.started(source),
        events.stopped(source),
        events.received(source, peer, subject, {MR: 12}),
        events.received(source, peer, subject, {MR: 1}, Outcome.MINOR_FAILURE, text),
        events.sending(source, peer, subject, {text: 1}),
        events.sent(source, peer, subject, {MR: 1}, Outcome.SERIOUS_FAILURE, text),
        events.deleted(source, subject, {MR: 1}),
        *events.accessed(source, peer, [subject, Subject()]),
        *events.exported(source, peer, [subject, Subject()], Path("jobs.csv")),
        *events.exported(source, peer, [subject], Path("jobs.csv"), Outcome.SERIOUS_FAILURE, text),
        events.job_changed(source, peer, subject, 7, events.JOB_RELEASED),
        events.job_changed(source, peer, subject, 7, events.JOB_CANCELLED, Outcome.SERIOUS_FAILURE, text),
        events.deleted(source, subject, {MR: 1}, READER),
        events.sending(source, peer, subject, {MR: 1}, READER),
        events.sent(source, peer, subject, {MR: 1}, Outcome.SUCCESS, person=READER),
        events.refused(source, peer, text, text),
        events.refused(source, peer, text, text, authentication=False),
        events.authenticated(source, peer, False),
        events.authenticated(source, peer, True, out=True),
        events.recording(source, False, text),
        events.recording(source, True, text),
    ]


def test_any_text_gives_valid_messages(tmp_path):
    made: list[bytes] = []
    # as it comes from a header that lies about its character set: halves of surrogates, controls, XML's own letters
    texts = st.text(st.characters(exclude_categories=()) | st.sampled_from("<>&'\"\x00\x1b\x08\ufffe\ud800\x85\r\n]"))

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(st.lists(texts, min_size=8, max_size=8))
    def make(words: list[str]) -> None:
        source = Source(words[0] or "A", words[1], words[2])
        peer = Participant(words[3], ae_title=words[4], user_name=words[5], address=words[6])
        for message in all_messages(source, Subject(*words[:4]), peer, words[7]):
            data = to_xml(message, source)
            ET.fromstring(data)
            made.append(data)

    make()
    assert_valid(set(made), tmp_path)


@pytest.mark.parametrize(
    "name", ["Müller^Jürgen", "山田^太郎", "Люкceмбypг", "김희중", 'O\'Neil & Sons <"x">', "𝔘𝔫𝔦^𝄞"]
)
def test_a_name_arrives_as_it_is(name):
    source = Source("SCARNODE")
    root = ET.fromstring(to_xml(events.received(source, SCANNER, Subject("1.2", "id & <4>", name), {MR: 1}), source))
    patient = root.findall("ParticipantObjectIdentification")[1]
    assert patient.find("ParticipantObjectName").text == name
    assert patient.get("ParticipantObjectID") == "id & <4>"


def test_the_schema_refuses_what_is_wrong(tmp_path):
    source = Source("SCARNODE")
    good = to_xml(events.started(source), source)
    assert_valid([good], tmp_path / "good")
    for wrong, right in ((b"UsrID", b"UserID"), (b'"3"', b'"0"'), (b"EventType", b"EventTypeCode")):
        with pytest.raises(AssertionError, match="error"):
            assert_valid([good.replace(right, wrong)], tmp_path / wrong.strip(b'"').decode())


def test_received_names_both_ends_study_and_patient():
    source = Source("SCARNODE", "node-7", "north wing")
    subject = Subject("1.2.3", "4711", "Doe^Jane", "A77")
    root = ET.fromstring(to_xml(events.received(source, SCANNER, subject, {MR: 12, "1.2": 3}), source))
    event = root.find("EventIdentification")
    assert event.attrib | {"EventDateTime": ""} == {
        "EventActionCode": "C",
        "EventDateTime": "",
        "EventOutcomeIndicator": "0",
    }
    assert datetime.fromisoformat(event.get("EventDateTime")).tzinfo is not None
    sender, receiver = root.findall("ActiveParticipant")
    assert sender.attrib == {
        "UserID": "SCANNER",
        "AlternativeUserID": "AETITLES=SCANNER",
        "UserIsRequestor": "true",
        "NetworkAccessPointID": "10.0.0.7",
        "NetworkAccessPointTypeCode": "2",
    }
    assert sender.find("RoleIDCode").attrib == {
        "csd-code": "110153",
        "codeSystemName": "DCM",
        "originalText": "Source Role ID",
    }
    assert receiver.find("RoleIDCode").get("csd-code") == "110152"
    assert receiver.get("UserIsRequestor") == "false"
    assert root.find("AuditSourceIdentification").attrib == {
        "AuditEnterpriseSiteID": "north wing",
        "AuditSourceID": "node-7",
    }
    study, patient = root.findall("ParticipantObjectIdentification")
    assert (study.get("ParticipantObjectID"), study.find("ParticipantObjectIDTypeCode").get("csd-code")) == (
        "1.2.3",
        "110180",
    )
    assert study.find("ParticipantObjectDescription/Accession").get("Number") == "A77"
    counts = {c.get("UID"): c.get("NumberOfInstances") for c in study.iter("SOPClass")}
    assert counts == {MR: "12", "1.2": "3"}
    assert (patient.get("ParticipantObjectID"), patient.find("ParticipantObjectIDTypeCode").get("csd-code")) == (
        "4711",
        "2",
    )


def test_access_is_told_for_each_patient_and_never_too_long(tmp_path):
    source = Source("SCARNODE")
    wide = "山" * 64
    subjects = [Subject(f"1.2.{n}", f"id{n % 2}", wide, wide) for n in range(100)]
    messages = [to_xml(message, source) for message in events.accessed(source, READER, subjects * 2)]
    roots = [ET.fromstring(message) for message in messages]
    patients = [root.findall("ParticipantObjectIdentification[@ParticipantObjectTypeCode='1']") for root in roots]
    assert all(len(found) == 1 for found in patients)
    studies = [
        thing.get("ParticipantObjectID")
        for root in roots
        for thing in root.findall("ParticipantObjectIdentification[@ParticipantObjectTypeCode='2']")
    ]
    assert sorted(studies) == sorted(subject.study_instance_uid for subject in subjects)
    exports = [to_xml(message, source) for message in events.exported(source, READER, subjects, tmp_path / "x y.csv")]
    assert max(map(len, messages + exports)) < 32768  # what every repository takes: PS3.15 A.6
    assert b"x%20y.csv" in exports[0]
    assert_valid(messages + exports, tmp_path / "xml")


def test_a_refusal_says_who_and_why():
    source = Source("SCARNODE")
    root = ET.fromstring(to_xml(events.refused(source, SCANNER, "OTHER", "called AE title not recognised"), source))
    assert [p.get("UserIsRequestor") for p in root.findall("ActiveParticipant")] == ["false", "false"]
    details = {
        detail.get("type"): b64decode(detail.get("value")).decode() for detail in root.iter("ParticipantObjectDetail")
    }
    assert details == {
        "Alert Description": "called AE title not recognised",
        "Calling AE Title": "SCANNER",
        "Called AE Title": "OTHER",
    }


def test_subject_is_read_from_any_file(tmp_path):
    subject, sop_class = read_subject(make_object(tmp_path / "a.dcm", study="1.2.3"))
    assert (subject.study_instance_uid, subject.patient_id, subject.patient_name) == ("1.2.3", "4711", "Secret^Patient")
    assert sop_class == "1.2.840.10008.5.1.4.1.1.7"
    (tmp_path / "b").write_bytes(b"no DICOM")
    assert read_subject(tmp_path / "b") == (Subject(), "")
    assert read_subject(tmp_path / "absent") == (Subject(), "")


def test_the_example_in_the_document_is_what_the_code_makes(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "node7")
    monkeypatch.setattr("os.getpid", lambda: 2417)
    source = Source("SCARNODE", "scarnode-cardiology", "north")
    subject = Subject("1.2.826.0.1.3680043.8.498.1", "SYN-1", "PHANTOM^ONE", "A1")
    message = events.received(
        source, SCANNER, subject, {MR: 12}, at=datetime(2026, 1, 2, 9, 30, 15, 250000, tzinfo=timezone.utc)
    )
    text = (Path(__file__).resolve().parent.parent.parent / "docs" / "audit.md").read_text()
    example = text.partition("```xml\n")[2].partition("\n```")[0]
    root = ET.fromstring(to_xml(message, source))
    ET.indent(root)
    assert example == ET.tostring(root, encoding="unicode")
