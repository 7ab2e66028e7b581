"""Scanners that do not give up: each sends its studies, and sends again what was not answered with Success."""

from __future__ import annotations

import hashlib
import itertools
import re
import subprocess
import threading
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.filereader import read_file_meta_info
from pydicom.uid import JPEGLSLossless, MRImageStorage
from pynetdicom import AE

from scarnode.dicom.reactor import held
from scarnode.dicom.uids import derived_uid
from scarnode.phantom import PhantomSettings, make_phantom
from scarnode.phantom.dicom import write_dicom
from tests.harness.dcmtk import storescu
from tests.harness.node import Node

STORESCU = ["-v", "-to", "5", "-ta", "20", "-td", "20"]
"""Tell of each file; give up soon."""

UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID")


@dataclass(frozen=True)
class Sent:
    """An instance that the node answered with Success: its UID, and its dataset as it went over the wire."""

    sop_instance_uid: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Study:
    """A study on a scanner's disk."""

    uid: str
    paths: tuple[Path, ...]
    readable: bool
    """False: its pixel data can not be decoded, the job must fail and say so."""


def small_studies(folder: Path, seed: str, slices: int = 3, unreadable_every: int = 0) -> Iterator[Study]:
    """Give studies without end: one small phantom (synthetic) under ever new UIDs.

    Parameters
    ----------
    unreadable_every : int
        Every so many studies comes one whose pixel data is cut short.
    """
    settings = PhantomSettings(matrix=(64, 64), slices=slices, component="magnitude", scar_fraction=0.15)
    patterns = [dcmread(path) for path in write_dicom(make_phantom(5, settings), folder / "pattern")]
    for number in itertools.count():
        name = f"{seed}-{number}"
        readable = not unreadable_every or number % unreadable_every != unreadable_every - 1
        paths = []
        for index, pattern in enumerate(patterns):
            for keyword in UIDS:
                of_instance = str(index) if keyword == "SOPInstanceUID" else ""
                setattr(pattern, keyword, derived_uid("harness", keyword, name, of_instance))
            pattern.file_meta.MediaStorageSOPInstanceUID = pattern.SOPInstanceUID
            path = folder / name / f"{index}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            (pattern if readable else damaged(pattern)).save_as(path, enforce_file_format=True)
            paths.append(path)
        yield Study(str(derived_uid("harness", "StudyInstanceUID", name, "")), tuple(paths), readable)


def damaged(image: Dataset) -> Dataset:
    """Give a copy that says it is JPEG-LS, and is noise."""
    copy = deepcopy(image)
    copy.file_meta.TransferSyntaxUID = JPEGLSLossless
    copy.PixelData = encapsulate([bytes(range(256)) * 4])
    copy["PixelData"].VR, copy["PixelData"].is_undefined_length = "OB", True
    return copy


def dataset_bytes(path: Path) -> bytes:
    """Give what follows the file meta information: the bytes that go over the wire where nothing is converted."""
    group_length = read_file_meta_info(path).FileMetaInformationGroupLength
    return path.read_bytes()[128 + 4 + 12 + group_length :]


def proposal(path: Path) -> list[str]:
    """Give storescu's option for a file's transfer syntax."""
    return ["-xt"] if read_file_meta_info(path).TransferSyntaxUID == JPEGLSLossless else []


def send_by_dcmtk(node: Node, paths: Sequence[Path]) -> list[Path]:
    """Send files with storescu, and give those that it reports as accepted."""
    try:
        done = storescu(
            node.host, node.port, paths, node.ae_title, options=[*STORESCU, *proposal(paths[0])], timeout=90
        )
    except subprocess.TimeoutExpired as late:
        raise AssertionError("storescu hangs though its own limits are far shorter") from late
    accepted, sending = [], None
    for line in (done.stdout + done.stderr).splitlines():
        if found := re.search(r"Sending file: (.*)", line):
            sending = Path(found[1])
        elif "Received Store Response (Success)" in line and sending:
            accepted.append(sending)
    return accepted


def send_by_pynetdicom(node: Node, paths: Sequence[Path]) -> list[Path]:
    """Send files with pynetdicom, and give those that were answered with 0x0000."""
    entity = AE("SCANNER2")
    entity.add_requested_context(MRImageStorage, [read_file_meta_info(paths[0]).TransferSyntaxUID])
    entity.connection_timeout = 5
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 20
    accepted: list[Path] = []
    try:
        link = held(entity.associate(node.host, node.port, ae_title=node.ae_title))
        for path in paths:
            if not link.is_established:
                break
            if link.send_c_store(path).get("Status") == 0x0000:
                accepted.append(path)
        if link.is_established:
            link.release()
    except (OSError, RuntimeError):  # the association ended under its hands
        pass
    return accepted


class Scanner(threading.Thread):
    """Sends studies one after the other, each until all of it is accepted.

    Attributes
    ----------
    sent : list of Sent
        What was answered with Success.
    begun, finished : list of Study
    """

    def __init__(self, node: Node, studies: Iterator[Study], send=send_by_dcmtk, pause: float = 0.1) -> None:
        super().__init__(daemon=True)
        self.sent: list[Sent] = []
        self.begun: list[Study] = []
        self.finished: list[Study] = []
        self.trouble: BaseException | None = None
        self._node, self._studies, self._send, self._pause = node, studies, send, pause
        self._ended = threading.Event()

    def run(self) -> None:
        """Send until there are no more studies, or `end` was called and the study at hand is through."""
        try:
            for study in self._studies:
                if self._ended.is_set():
                    return
                self.begun.append(study)
                self._push(study)
                self.finished.append(study)
        except BaseException as trouble:  # the test must hear of it
            self.trouble = trouble

    def end(self, timeout: float) -> None:
        """Begin no further study, and wait until the one at hand is through."""
        self._ended.set()
        self.join(timeout)
        if self.trouble:
            raise self.trouble
        assert not self.is_alive(), "a scanner could not get rid of its study"

    def _push(self, study: Study) -> None:
        left = list(study.paths)
        while left:
            for path in self._send(self._node, left):
                left.remove(path)
                content = dataset_bytes(path)
                uid = dcmread(path, stop_before_pixels=True).SOPInstanceUID
                self.sent.append(Sent(uid, hashlib.sha256(content).hexdigest(), len(content)))
            if left:
                self._ended.wait(self._pause) or threading.Event().wait(self._pause)
