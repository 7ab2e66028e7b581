"""Small objects to send, and peers that misbehave in one exact way."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    generate_uid,
)

PATIENT = "Secret^Patient"


def make_object(
    path: Path,
    sop_class: str = SecondaryCaptureImageStorage,
    pixels: int = 16,
    syntax: str = ExplicitVRLittleEndian,
    study: str | None = None,
) -> Path:
    """Write a small secondary capture (or a PDF, or one of a private SOP class) and give its path.

    All are valid but for the compressed ones, whose frame is not what their transfer syntax says.
    """
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study or generate_uid(), generate_uid()
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = PATIENT, "4711", "", ""
    ds.StudyDate = ds.StudyTime = ds.StudyID = ds.AccessionNumber = ds.ReferringPhysicianName = ""
    ds.SeriesNumber = ds.InstanceNumber = 1
    if sop_class == EncapsulatedPDFStorage:
        ds.Modality, ds.ConversionType, ds.ContentDate, ds.ContentTime = "DOC", "WSD", "", ""
        ds.AcquisitionDateTime, ds.BurnedInAnnotation, ds.DocumentTitle = "", "NO", ""
        ds.MIMETypeOfEncapsulatedDocument, ds.EncapsulatedDocument = "application/pdf", b"%PDF-1.4 nothing\n"
    else:
        ds.Modality, ds.ConversionType, ds.PatientOrientation = "OT", "WSD", ""
        ds.Rows = ds.Columns = pixels
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated = ds.BitsStored = 16
        ds.HighBit, ds.PixelRepresentation = 15, 0
        frame = np.arange(pixels * pixels, dtype=np.uint16).tobytes()
        ds.PixelData = encapsulate([frame]) if UID(syntax).is_compressed else frame
        ds["PixelData"].VR = "OB" if UID(syntax).is_compressed else "OW"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.save_as(path, enforce_file_format=True)
    return path


def _hang_up(connection: socket.socket) -> None:
    """Wake up whoever waits at either end."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def raw_peer(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """Listen on a port and hand every connection to `talk`; what it leaves open stays open until the end."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

        def run() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    stack.callback(connection.close)
                    stack.callback(_hang_up, connection)
                    threading.Thread(target=quietly, args=[connection], daemon=True).start()

        def quietly(connection: socket.socket) -> None:
            with suppress(OSError):
                talk(connection)

        threading.Thread(target=run, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


class Relay:
    """A bad line to a good peer: passes bytes on, until it has seen enough. A context manager that gives its port.

    Parameters
    ----------
    port : int
        Of the good peer.
    after : int
        Bytes from the sender that still get through.
    then : str
        ``freeze``: read no more, keep the connection; ``cut``: close it; ``half-close``: say "no more from me" to the
        sender and go on reading; ``trickle``: pass the peer's bytes on one by one, slowly.
    sent : list of int, optional
        Gets the number of bytes of each piece that was passed on.
    """

    def __init__(self, port: int, after: int, then: str, sent: list[int] | None = None) -> None:
        self.port, self.after, self.then, self.sent = port, after, then, sent
        self.spent = threading.Event()
        self._stack = ExitStack()

    def __enter__(self) -> int:
        """Listen, and give the port."""
        return self._stack.enter_context(raw_peer(self._relay))

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _relay(self, sender: socket.socket) -> None:
        peer = socket.create_connection(("127.0.0.1", self.port))
        self._stack.callback(peer.close)
        self._stack.callback(_hang_up, peer)
        threading.Thread(target=self._back, args=[peer, sender], daemon=True).start()
        passed = 0
        while passed < self.after:
            data = sender.recv(min(4096, self.after - passed))
            if not data:
                _hang_up(peer)
                return
            passed += len(data)
            if self.sent is not None:
                self.sent.append(len(data))
            peer.sendall(data)
        self.spent.set()
        if self.then == "freeze":
            time.sleep(60)
        elif self.then == "cut":
            _hang_up(sender)
            _hang_up(peer)
        elif self.then == "half-close":
            sender.shutdown(socket.SHUT_WR)
            while sender.recv(4096):
                pass
        else:
            while data := sender.recv(4096):
                peer.sendall(data)

    def _back(self, peer: socket.socket, sender: socket.socket) -> None:
        with suppress(OSError):
            while data := peer.recv(4096):
                if self.spent.is_set() and self.then == "trickle":
                    for byte in data:
                        sender.sendall(bytes([byte]))
                        time.sleep(0.2)
                else:
                    sender.sendall(data)
