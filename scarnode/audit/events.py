"""The events of DICOM PS3.15 A.5.3 that this node records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path

from scarnode.audit.model import Code, Message, Outcome, Participant, ParticipantObject, Source, Subject


def _dcm(value: str, meaning: str) -> Code:
    return Code(value, "DCM", meaning)


APPLICATION_ACTIVITY = _dcm("110100", "Application Activity")
BEGIN_TRANSFERRING = _dcm("110102", "Begin Transferring DICOM Instances")
INSTANCES_ACCESSED = _dcm("110103", "DICOM Instances Accessed")
INSTANCES_TRANSFERRED = _dcm("110104", "DICOM Instances Transferred")
STUDY_DELETED = _dcm("110105", "DICOM Study Deleted")
EXPORT = _dcm("110106", "Export")
SECURITY_ALERT = _dcm("110113", "Security Alert")
USER_AUTHENTICATION = _dcm("110114", "User Authentication")

APPLICATION_START = _dcm("110120", "Application Start")
APPLICATION_STOP = _dcm("110121", "Application Stop")
LOGIN = _dcm("110122", "Login")
LOGOUT = _dcm("110123", "Logout")
NODE_AUTHENTICATION = _dcm("110126", "Node Authentication")
RECORDING_STOPPED = _dcm("110133", "Audit Recording Stopped")
RECORDING_STARTED = _dcm("110134", "Audit Recording Started")
ASSOCIATION_REFUSED = Code("ASSOCIATION_REFUSED", "99SCARNODE", "Association refused")
"""Private codes: CID 403 has no alert for a peer that is rejected for its requests or for lack of resources."""

JOB_RETRIED = Code("JOB_RETRIED", "99SCARNODE", "Analysis asked for again")
JOB_RELEASED = Code("JOB_RELEASED", "99SCARNODE", "Held result released")
JOB_SENT_AGAIN = Code("JOB_SENT_AGAIN", "99SCARNODE", "Result sent again")
JOB_HELD = Code("JOB_HELD", "99SCARNODE", "Result held back")
JOB_CANCELLED = Code("JOB_CANCELLED", "99SCARNODE", "Job cancelled")
"""DICOM leaves the type of DICOM Instances Accessed to the implementation (Table A.5.3.6-1)."""

APPLICATION = _dcm("110150", "Application")
DESTINATION = _dcm("110152", "Destination Role ID")
SOURCE = _dcm("110153", "Source Role ID")
DESTINATION_MEDIA = _dcm("110154", "Destination Media")
URI = _dcm("110037", "URI")

STUDY_UID = _dcm("110180", "Study Instance UID")
NODE_ID = _dcm("110182", "Node ID")
PATIENT_NUMBER = Code("2", "RFC-3881", "Patient Number")

PERSON, SYSTEM_OBJECT = "1", "2"
"""ParticipantObjectTypeCode."""
PATIENT, REPORT, SECURITY_RESOURCE = "1", "3", "13"
"""ParticipantObjectTypeCodeRole."""

MOST_STUDIES = 20
"""Most studies in one message: this keeps it below 32768 octets, which every repository accepts (A.6)."""


def started(source: Source) -> Message:
    """Return Application Activity (A.5.3.1): the node started."""
    return _activity(source, APPLICATION_START)


def stopped(source: Source) -> Message:
    """Return Application Activity (A.5.3.1): the node was stopped."""
    return _activity(source, APPLICATION_STOP)


def _activity(source: Source, what: Code) -> Message:
    process = replace(source.process(), roles=(APPLICATION,))
    return Message(APPLICATION_ACTIVITY, "E", (process,), types=(what,))


def received(
    source: Source,
    sender: Participant,
    subject: Subject,
    sop_classes: Mapping[str, int],
    outcome: Outcome = Outcome.SUCCESS,
    description: str = "",
    at: datetime | None = None,
) -> Message:
    """Return DICOM Instances Transferred (A.5.3.7): a peer sent instances of a study over one association.

    Parameters
    ----------
    sop_classes : mapping of str to int
        SOP Class UIDs and how many instances.
    at : datetime, optional
        When the transfer was complete; default: now.
    """
    return Message(
        INSTANCES_TRANSFERRED,
        "C",
        (replace(sender, requestor=True, roles=(SOURCE,)), replace(source.process(), roles=(DESTINATION,))),
        _study_and_patient(subject, sop_classes),
        outcome=outcome,
        description=description,
        at=at or datetime.now(timezone.utc),
    )


def sending(
    source: Source,
    destination: Participant,
    subject: Subject,
    sop_classes: Mapping[str, int],
    person: Participant | None = None,
) -> Message:
    """Return Begin Transferring DICOM Instances (A.5.3.3): instances of a study are about to be sent to a destination.

    Parameters
    ----------
    person : Participant, optional
        The user who requested it; default: the node itself.
    """
    return Message(
        BEGIN_TRANSFERRING,
        "E",
        _from_us(source, destination, person),
        _study_and_patient(subject, sop_classes),
    )


def sent(
    source: Source,
    destination: Participant,
    subject: Subject,
    sop_classes: Mapping[str, int],
    outcome: Outcome,
    description: str = "",
    person: Participant | None = None,
) -> Message:
    """Return DICOM Instances Transferred (A.5.3.7): the outcome of a delivery to a destination.

    The action is Read: the sender does not know whether the receiver had them (Table A.5.3.7-1).
    """
    return Message(
        INSTANCES_TRANSFERRED,
        "R",
        _from_us(source, destination, person),
        _study_and_patient(subject, sop_classes),
        outcome=outcome,
        description=description,
    )


def deleted(
    source: Source, subject: Subject, sop_classes: Mapping[str, int], person: Participant | None = None
) -> Message:
    """Return DICOM Study Deleted (A.5.3.8): the node's copy of a study was deleted, by the node or by a user."""
    process = source.process(requestor=person is None)
    people = (process,) if person is None else (replace(person, requestor=True), process)
    return Message(STUDY_DELETED, "D", people, _study_and_patient(subject, sop_classes))


def accessed(source: Source, person: Participant, subjects: Iterable[Subject]) -> Iterator[Message]:
    """Return DICOM Instances Accessed (A.5.3.6): a user saw studies and their numbers; one message for each patient."""
    patients: dict[tuple[str, str], dict[str, Subject]] = {}
    for subject in subjects:
        patients.setdefault((subject.patient_id, subject.patient_name), {})[subject.study_instance_uid] = subject
    for studies in patients.values():
        for some in _batches(list(studies.values())):
            objects = (*(_study(study) for study in some), _patient(some[0]))
            yield Message(INSTANCES_ACCESSED, "R", (replace(person, requestor=True), source.process()), objects)


def job_changed(
    source: Source,
    person: Participant,
    subject: Subject,
    job: int,
    what: Code,
    outcome: Outcome = Outcome.SUCCESS,
    description: str = "",
) -> Message:
    """Return DICOM Instances Accessed (A.5.3.6), Update: a user retried, held, released or cancelled a job.

    Parameters
    ----------
    job : int
        Its number in the ledger.
    what : Code
        `JOB_RETRIED` or one of those beside it.
    outcome : Outcome
    description : str
        Why it was refused.
    """
    return Message(
        INSTANCES_ACCESSED,
        "U",
        (replace(person, requestor=True), source.process()),
        (replace(_study(subject), details=(("Job", str(job)),)), _patient(subject)),
        types=(what,),
        outcome=outcome,
        description=description,
    )


def exported(
    source: Source,
    person: Participant,
    subjects: Iterable[Subject],
    file: Path,
    outcome: Outcome = Outcome.SUCCESS,
    description: str = "",
) -> Iterator[Message]:
    """Return Data Export (A.5.3.4): a user writes studies' numbers or images to a file.

    Many studies make several messages.
    """
    participants = (
        replace(person, requestor=True, roles=(SOURCE,)),
        replace(source.process(), roles=(SOURCE,)),
        Participant(file.absolute().as_uri(), roles=(DESTINATION_MEDIA,), media=URI),
    )
    distinct = {(subject.study_instance_uid, subject.patient_id): subject for subject in subjects}
    for some in _batches(list(distinct.values())):
        patients = {(subject.patient_id, subject.patient_name): _patient(subject) for subject in some}
        objects = (*(_study(study) for study in some), *patients.values())
        yield Message(EXPORT, "R", participants, objects, outcome=outcome, description=description)


def refused(source: Source, peer: Participant, called: str, why: str, authentication: bool = True) -> Message:
    """Return Security Alert (A.5.3.11): an association was rejected.

    Parameters
    ----------
    peer : Participant
        The peer; its AE title is the calling AE title.
    called : str
        The called AE title.
    why : str
    authentication : bool
        The peer failed authentication (serious failure). Else it was rejected for another reason (minor failure).
    """
    node = ParticipantObject(
        id=peer.address,
        id_type=NODE_ID,
        type_code=SYSTEM_OBJECT,
        role=SECURITY_RESOURCE,
        name=peer.ae_title,
        details=(("Alert Description", why), ("Calling AE Title", peer.ae_title), ("Called AE Title", called)),
    )
    return Message(
        SECURITY_ALERT,
        "E",
        (source.process(), peer),
        (node,),
        types=(NODE_AUTHENTICATION if authentication else ASSOCIATION_REFUSED,),
        outcome=Outcome.SERIOUS_FAILURE if authentication else Outcome.MINOR_FAILURE,
        description=why,
    )


def authenticated(source: Source, person: Participant, ok: bool, out: bool = False) -> Message:
    """Return User Authentication (A.5.3.12): a user logged in, logged out (`out`), or was refused."""
    outcome = Outcome.SUCCESS if ok else Outcome.MINOR_FAILURE
    kind = LOGOUT if out else LOGIN
    participants = (replace(person, requestor=True), source.process())
    return Message(USER_AUTHENTICATION, "E", participants, types=(kind,), outcome=outcome)


def recording(source: Source, goes_on: bool, why: str) -> Message:
    """Return Security Alert (A.5.3.11): audit recording stopped or started again."""
    outcome = Outcome.SUCCESS if goes_on else Outcome.SERIOUS_FAILURE
    kind = RECORDING_STARTED if goes_on else RECORDING_STOPPED
    return Message(SECURITY_ALERT, "E", (source.process(),), types=(kind,), outcome=outcome, description=why)


def _from_us(source: Source, destination: Participant, person: Participant | None = None) -> tuple[Participant, ...]:
    ours = replace(source.process(requestor=person is None), roles=(SOURCE,))
    theirs = replace(destination, roles=(DESTINATION,))
    return (ours, theirs) if person is None else (ours, theirs, replace(person, requestor=True))


def _study_and_patient(subject: Subject, sop_classes: Mapping[str, int]) -> tuple[ParticipantObject, ...]:
    return _study(subject, sop_classes), _patient(subject)


def _study(subject: Subject, sop_classes: Mapping[str, int] | None = None) -> ParticipantObject:
    return ParticipantObject(
        id=subject.study_instance_uid,
        id_type=STUDY_UID,
        type_code=SYSTEM_OBJECT,
        role=REPORT,
        name=subject.study_instance_uid,  # the schema requires a name, and the study has none
        accession_number=subject.accession_number,
        sop_classes=tuple(sorted((sop_classes or {}).items())),
    )


def _patient(subject: Subject) -> ParticipantObject:
    return ParticipantObject(
        id=subject.patient_id, id_type=PATIENT_NUMBER, type_code=PERSON, role=PATIENT, name=subject.patient_name
    )


def _batches(subjects: Sequence[Subject]) -> Iterator[tuple[Subject, ...]]:
    waiting = iter(subjects)
    while some := tuple(islice(waiting, MOST_STUDIES)):
        yield some
