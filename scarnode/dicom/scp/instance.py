"""What the ledger wants to know of a received instance, read from its header; pixel data is not touched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset, FileDataset
from pydicom.filereader import read_file_meta_info

from scarnode.dicom.part10 import OversizedError, read
from scarnode.dicom.values import read_value

TAGS = [
    "SpecificCharacterSet",
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "PatientID",
    "PatientName",
    "AccessionNumber",
    "StudyDate",
]


@dataclass(frozen=True)
class ReceivedInstance:
    """A row for the ledger: where an instance lies and whose it is.

    Attributes
    ----------
    path : str
        Relative to the spool.
    digest : str
        SHA-256 of the dataset's bytes as they came; as `Spool` says, of the transfer syntax UID, too.
    received_at : float
        UTC seconds since 1970.
    problem : str
        Why the header can not be read, empty where it can; the UIDs are then those of the C-STORE request.
    """

    path: str
    digest: str
    size: int
    received_at: float
    calling_ae: str
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    patient_id: str = ""
    patient_name: str = ""
    accession_number: str = ""
    study_date: str = ""
    problem: str = ""


def describe(spool: Path, path: Path) -> ReceivedInstance:
    """Read a spooled file's header into a ledger row; an unreadable header is described, not raised.

    Parameters
    ----------
    spool : Path
        Root of the spool.
    path : Path
        A file that `Spool.store` wrote there.

    Returns
    -------
    ReceivedInstance

    Raises
    ------
    OSError
        The file can not be opened.
    """
    status = path.stat()
    uid, digest = path.stem.rsplit(".", 1)
    header: Dataset = Dataset()
    problem = ""
    try:
        header = read(path, TAGS)
    except OversizedError as error:
        problem = f"OVERSIZED: {error}"
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's; pydicom raises OSErrors of its own for what it does not find in the bytes
        problem = f"the header can not be read ({type(error).__name__})"
    try:
        meta: Dataset = header.file_meta if isinstance(header, FileDataset) else read_file_meta_info(path)
    except Exception as error:  # `Spool.store` wrote it, but a disk, or an older node, may have spoilt it
        if isinstance(error, OSError) and error.errno is not None:
            raise
        meta, problem = Dataset(), problem or f"the file meta group can not be read ({type(error).__name__})"
    study = _text(header, "StudyInstanceUID")
    if not problem and not study:
        problem = "the dataset has no Study Instance UID"
    return ReceivedInstance(
        path=str(path.relative_to(spool)),
        digest=digest,
        size=status.st_size,
        received_at=status.st_mtime,
        calling_ae=_text(meta, "SourceApplicationEntityTitle")[:64],
        sop_class_uid=_text(meta, "MediaStorageSOPClassUID"),
        sop_instance_uid=_text(meta, "MediaStorageSOPInstanceUID") or uid,
        study_instance_uid=study,
        series_instance_uid=_text(header, "SeriesInstanceUID"),
        patient_id=read_value(header, "PatientID").text,
        patient_name=read_value(header, "PatientName").text,
        accession_number=read_value(header, "AccessionNumber").text,
        study_date=read_value(header, "StudyDate").text,
        problem=problem,
    )


def _text(dataset: Dataset, keyword: str) -> str:
    """Return an attribute as one line of text that any database takes, whatever the sender put there."""
    try:
        value = str(dataset.get(keyword) or "")
    except Exception:  # a value that pydicom refuses to convert
        return ""
    return "".join(c for c in value if c.isprintable()).encode("utf-8", "replace").decode("utf-8").strip()[:128]
