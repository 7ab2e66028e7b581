"""C-FIND: which studies does an archive have, and which series of them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from datetime import date, timedelta

from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import _config, build_context

from scarnode.dicom.elements import text
from scarnode.dicom.query.model import (
    CHARACTER_SETS,
    FIRST_DATE,
    Archive,
    FoundSeries,
    FoundStudy,
    Period,
    QueryError,
    Wanted,
)
from scarnode.dicom.scu.association import association, refusal, silence
from scarnode.dicom.values import read_value

# What it would write to its log is converted first, and an answer in an odd character set is spoilt by that.
_config.LOG_RESPONSE_IDENTIFIERS = False

LONGEST = 3600.0
"""Seconds that one question may take in all."""

FIND = UID("1.2.840.10008.5.1.4.1.2.2.1")
"""Study Root Query/Retrieve Information Model - FIND."""

SYNTAXES: list[str | UID] = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]

STUDY_KEYS = (
    "PatientName",
    "StudyTime",
    "NumberOfStudyRelatedSeries",
    "NumberOfStudyRelatedInstances",
)
"""Asked of every study besides what is matched."""

OUT_OF_RESOURCES = range(0xA700, 0xA800)
CANCELLED = 0xFE00


def find_studies(source: Archive, wanted: Wanted, calling_ae_title: str) -> list[FoundStudy]:
    """Ask an archive for studies.

    An archive that gives no more than so many answers (it says so by status FE00, A7xx, or `Archive.most_answers` is
    reached) is asked again for parts of the time, down to a quarter of an hour.

    Parameters
    ----------
    source : Archive
    wanted : Wanted
        What an archive passes over is looked at here: the answers are those that were asked for.
    calling_ae_title : str

    Returns
    -------
    list of FoundStudy
        The newest first.

    Raises
    ------
    QueryError
        No association, no answer, a failure, or more studies than it gives; a question can not be encoded.
    """
    found = {study.study_instance_uid: study for study in _find(source, wanted, calling_ae_title)}
    matching = [study for study in found.values() if study.study_instance_uid and study.matches(wanted)]
    return sorted(matching, key=lambda study: study.study_date, reverse=True)


def find_series(source: Archive, study_uid: str, calling_ae_title: str) -> list[FoundSeries]:
    """Ask an archive for the series of a study; QueryError as of `find_studies`."""
    question = Dataset()
    question.QueryRetrieveLevel, question.StudyInstanceUID = "SERIES", study_uid
    for keyword in ("SeriesInstanceUID", "Modality", "SeriesDescription", "NumberOfSeriesRelatedInstances"):
        setattr(question, keyword, None)
    answers, complete = _ask(source, question, calling_ae_title)
    if not complete:
        raise QueryError(
            f"it stopped after {len(answers)} series of one study", str(source), "Raise its limit of answers"
        )
    return [
        FoundSeries(
            study_uid,
            _text(answer, "SeriesInstanceUID"),
            _text(answer, "Modality"),
            text(answer, 0x0008103E),
            _count(answer, "NumberOfSeriesRelatedInstances"),
        )
        for answer in answers
        if _text(answer, "SeriesInstanceUID") and _text(answer, "StudyInstanceUID") in ("", study_uid)
    ]


def _find(source: Archive, wanted: Wanted, title: str, hours: tuple[int, int] = (0, 96)) -> Iterator[FoundStudy]:
    """Ask, and divide the question where there is more than the archive gives; hours are counted in quarters."""
    answers, complete = _ask(source, _question(source, wanted, hours), title)
    if complete:
        yield from map(_study, answers)
        return
    first = wanted.period.first or FIRST_DATE
    last = wanted.period.last or max(first, date.today() + timedelta(days=1))
    if first < last:
        middle = first + (last - first) // 2
        for part in (Period(first, middle), Period(middle + timedelta(days=1), last)):
            yield from _find(source, dataclasses.replace(wanted, period=part), title)
    elif hours[1] - hours[0] > 1:
        noon = sum(hours) // 2
        for half in ((hours[0], noon), (noon, hours[1])):
            yield from _find(source, dataclasses.replace(wanted, period=Period(first, first)), title, half)
    else:
        raise QueryError(
            f"it stopped after {len(answers)} studies of a quarter of an hour on {first:%Y-%m-%d}",
            str(source),
            "Narrow the question (--description, --modality), or raise the archive's limit of answers",
        )


def _question(source: Archive, wanted: Wanted, hours: tuple[int, int]) -> Dataset:
    question = Dataset()
    question.QueryRetrieveLevel = "STUDY"
    for keyword in STUDY_KEYS:
        setattr(question, keyword, None)
    question.StudyInstanceUID, question.StudyDate = wanted.study_uid, str(wanted.period)
    question.AccessionNumber, question.PatientID = wanted.accession, wanted.patient
    # Matched here, by `FoundStudy.matches`. Archives that match a description mind its case; and Orthanc 1.10, asked
    # for a modality, counts series against its limit of studies: it answers fewer, and says that these are all.
    question.StudyDescription = question.ModalitiesInStudy = None
    if hours != (0, 96):
        last = hours[1] * 15 - 1  # minutes
        question.StudyTime = f"{hours[0] // 4:02d}{hours[0] % 4 * 15:02d}00-{last // 60:02d}{last % 60:02d}59.999999"
    text = wanted.accession + wanted.patient
    if not text.isascii():
        question.SpecificCharacterSet = source.character_set
        try:
            text.encode(CHARACTER_SETS[source.character_set])
        except UnicodeEncodeError:
            raise QueryError(
                f"the question can not be written in {source.character_set}",
                f"[source:{source.name}] character_set",
                "Set one that the archive reads and that has these characters",
            ) from None
    return question


def _ask(source: Archive, question: Dataset, title: str) -> tuple[list[Dataset], bool]:
    """Return the answers, and whether these are all."""
    with association(source.peer, title, [build_context(FIND, SYNTAXES)], LONGEST) as line:
        if line.trouble or line.link is None:
            why = line.trouble.detail if line.trouble else "there is no association"
            raise QueryError(why.rstrip("."), f"[source:{source.name}]", _todo(source, title))
        if not line.link.is_established:
            why = refusal(None, line.link.rejected_contexts, source.peer).detail
            raise QueryError(why.rstrip("."), f"[source:{source.name}]", "Allow Query/Retrieve there")
        answers: list[Dataset] = []
        started, status = time.monotonic(), None
        try:
            for response, identifier in line.link.send_c_find(question, FIND):
                started, status = (started, None) if "Status" not in response else (time.monotonic(), response.Status)
                if status in (0xFF00, 0xFF01) and identifier is not None:
                    answers.append(identifier)
        except (RuntimeError, ValueError):  # the association ended in this very moment
            status = None
        if status is None:
            line.end()
            why = silence(line, "the C-FIND", started, source.peer.timeout)
            raise QueryError(
                why.rstrip("."), f"[source:{source.name}]", "Try again; raise timeout_seconds if it is slow"
            )
    limited = 0 < source.most_answers <= len(answers)
    if status == 0x0000:
        return answers, not limited
    if status == CANCELLED or status in OUT_OF_RESOURCES:
        return answers, False
    raise QueryError(
        f"it answered the C-FIND with status 0x{status:04X}", f"[source:{source.name}]", "Ask its administrator why"
    )


def _todo(source: Archive, title: str) -> str:
    return f"Check host, port and ae_title; {source.peer.ae_title} must know the AE title {title}"


def _study(answer: Dataset) -> FoundStudy:
    modalities = answer.get("ModalitiesInStudy") or ()
    return FoundStudy(
        study_instance_uid=_text(answer, "StudyInstanceUID"),
        patient_id=read_value(answer, "PatientID").text,
        patient_name=read_value(answer, "PatientName").text,
        accession_number=read_value(answer, "AccessionNumber").text,
        study_date=_text(answer, "StudyDate"),
        description=text(answer, 0x00081030),
        modalities=(modalities,) if isinstance(modalities, str) else tuple(map(str, modalities)),
        series=_count(answer, "NumberOfStudyRelatedSeries"),
        instances=_count(answer, "NumberOfStudyRelatedInstances"),
    )


def _text(answer: Dataset, keyword: str) -> str:
    try:
        value = str(answer.get(keyword) or "")
    except Exception:  # a value that pydicom refuses to convert
        return ""
    return "".join(c for c in value if c.isprintable()).strip()


def _count(answer: Dataset, keyword: str) -> int | None:
    number = _text(answer, keyword)
    return int(number) if number.isdecimal() else None
