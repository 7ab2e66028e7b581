"""Audit messages of the listener: which peer sent which instances of which study, and which peer was rejected."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from uuid import uuid4

from scarnode.audit import events
from scarnode.audit.folder import chown_like_parent, make_private
from scarnode.audit.model import Outcome, Participant, Subject
from scarnode.audit.subject import read_subject
from scarnode.audit.trail import AuditTrail
from scarnode.dicom.scp.rejection import Reason, Rejection

if TYPE_CHECKING:  # commands that only read the ledger do not load it
    from pynetdicom.association import Association

    from scarnode.dicom.spool.incoming import Incoming

log = logging.getLogger(__name__)

OUT_OF_RESOURCES = range(0xA700, 0xA800)
"""C-STORE statuses (out of resources) after which a sender tries again."""

QUIET = 60.0
"""Seconds without an instance after which the instances of an open association are recorded."""

SAME_REFUSAL = 10.0
"""Seconds in which rejections of one peer for one reason make one message, so that a persistent peer floods nothing."""

AUTHENTICATION = (
    Reason.CALLED_AE_TITLE,
    Reason.CALLING_AE_TITLE,
    Reason.CALLING_ADDRESS,
    Reason.UNRESOLVED,
    Reason.NO_TLS,
)
"""Reasons of rejection that are failures of authentication."""

NO_ALERT = (Reason.STOPPING, Reason.IDLE)
"""Reasons of rejection that raise no security alert: they occur in normal use."""


@dataclass
class _Open:
    """The journal of an association that stored something."""

    path: Path
    file: IO[bytes]
    latest: float


@dataclass
class _Transfer:
    """Instances of one study that one association sent, with one outcome."""

    subject: Subject
    at: float
    sop_classes: Counter[str] = field(default_factory=Counter)


class AssociationAudit:
    """Makes audit messages of associations.

    An association that stores something has a journal: a file with a line for each instance. The messages are made
    from the journal after the association has ended, outside its thread. A journal survives a crash of the node: the
    next start records its instances.

    Parameters
    ----------
    trail : AuditTrail
        Nothing is done where it is off.
    spool : Path
        Root that received files lie below.
    folder : str
        Of the journals, below that of the trail. Each listener that may run at the same time has its own.
    """

    def __init__(self, trail: AuditTrail, spool: Path, folder: str = "associations") -> None:
        self._trail, self._spool = trail, spool
        self._folder = trail.folder / folder
        self._open: dict[Association, _Open] = {}
        self._unnoted = 0
        self._refusals: dict[tuple[str, str], tuple[float, int]] = {}
        self._lock = threading.Lock()
        self._telling = threading.Lock()

    def stored(self, association: Association, path: Path) -> None:
        """Record an instance that is stored durably. It is quick and never raises."""
        if self._trail.on:
            self._note(association, {"path": str(path.relative_to(self._spool))})

    def refused(self, association: Association, incoming: Incoming, status: int) -> None:
        """Record an instance that was refused, with its status. It never raises."""
        if not self._trail.on:
            return
        subject = Subject()
        try:
            subject, _ = read_subject(BytesIO(incoming.as_file()))
        except Exception:  # no dataset, or an unreadable one
            log.debug("a refused instance names no patient or study")
        self._note(association, {"status": status, "sop_class": incoming.sop_class_uid, "subject": asdict(subject)})

    def rejected(self, refusal: Rejection) -> None:
        """Record a rejected peer at once; many rejections in a short time make one message."""
        if refusal.reason in NO_ALERT:
            return
        why = refusal.reason.words + (f" ({refusal.detail})" if refusal.detail else "")
        address = refusal.address
        if not self._trail.on:
            return
        now = time.monotonic()
        with self._lock:
            last, more = self._refusals.get((address, why), (-SAME_REFUSAL, 0))
            if now - last < SAME_REFUSAL:
                self._refusals[address, why] = (last, more + 1)
                return
            self._refusals = {key: known for key, known in self._refusals.items() if now - known[0] < 60 * SAME_REFUSAL}
            self._refusals[address, why] = (now, 0)
        text = f"{why} (and {more} more times since the last message)" if more else why
        calling = refusal.calling_ae_title
        peer = Participant(calling or address, ae_title=calling, address=address)
        authentication = refusal.reason in AUTHENTICATION
        self._trail.note(events.refused(self._trail.source, peer, refusal.called_ae_title, text, authentication))

    def summarise(self, end: bool = False) -> None:
        """Make the messages of associations that have ended or are quiet.

        Parameters
        ----------
        end : bool
            The node stops: make the messages of all associations.
        """
        if not self._trail.on:
            return
        with self._telling:
            # listed first, so that every journal in the list is of an association that is known to be open or ended
            journals = sorted(self._folder.iterdir()) if self._folder.is_dir() else []
            under_way = self._end_what_ended(end)
            for path in journals:
                if path not in under_way:
                    self._record(path)

    def _end_what_ended(self, end: bool) -> set[Path]:
        """Close the journals that are complete, and return the others."""
        now = time.monotonic()
        with self._lock:
            for association, journal in list(self._open.items()):
                if end or not association.is_alive() or now - journal.latest > QUIET:
                    del self._open[association]
                    journal.file.close()
            return {journal.path for journal in self._open.values()}

    def _note(self, association: Association, line: dict[str, Any]) -> None:
        now = time.time()
        try:
            with self._lock:
                journal = self._open.get(association)
                if journal is None:
                    journal = self._open[association] = self._begin(association, now)
                journal.latest = time.monotonic()
                journal.file.write(json.dumps({"at": now, **line}).encode() + b"\n")
                self._unnoted = 0
        except OSError as error:
            self._unnoted += 1
            if self._unnoted == 1:  # a full disk raises its own alarm
                log.error("audit: a received instance can not be recorded (%s)", error.strerror)

    def _begin(self, association: Association, now: float) -> _Open:
        make_private(self._trail.folder)
        make_private(self._folder)
        path = self._folder / f"{int(now * 1000):015d}-{uuid4().hex}"
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        chown_like_parent(path)
        file = path.open("wb", buffering=0)  # a line is with the kernel once it is written
        peer = {"calling": association.requestor.ae_title, "address": association.requestor.address}
        try:
            file.write(json.dumps(peer).encode() + b"\n")
        except OSError:
            file.close()
            path.unlink(missing_ok=True)
            raise
        return _Open(path, file, time.monotonic())

    def _record(self, path: Path) -> None:
        """Make the messages of a journal, then delete it. After a crash in between they are made again."""
        lines = list(_lines(path))
        if lines:
            peer, noted = (lines[0], lines[1:]) if "calling" in lines[0] else ({}, lines)
            calling, address = str(peer.get("calling", "")), str(peer.get("address", ""))
            sender = Participant(calling or address, ae_title=calling, address=address)
            for (_, _, status), transfer in self._transfers(noted).items():
                self._record_transfer(sender, transfer, status)
        path.unlink(missing_ok=True)

    def _record_transfer(self, sender: Participant, transfer: _Transfer, status: int) -> None:
        outcome, why = Outcome.SUCCESS, ""
        if status:
            outcome = Outcome.MINOR_FAILURE if status in OUT_OF_RESOURCES else Outcome.SERIOUS_FAILURE
            why = f"C-STORE refused with status {status:04X}"
        at = datetime.fromtimestamp(transfer.at, timezone.utc)
        source = self._trail.source
        self._trail.note(events.received(source, sender, transfer.subject, transfer.sop_classes, outcome, why, at))

    def _transfers(self, noted: list[dict[str, Any]]) -> dict[tuple[str, str, int], _Transfer]:
        """Group by study, patient and status: a message is about one patient and one outcome."""
        transfers: dict[tuple[str, str, int], _Transfer] = {}
        for line in noted:
            if "path" in line:
                status = 0
                subject, sop_class = read_subject(self._spool / line["path"])
            else:
                status, sop_class, subject = line["status"], line["sop_class"], Subject(**line["subject"])
            key = (subject.study_instance_uid, subject.patient_id, status)
            transfer = transfers.setdefault(key, _Transfer(subject, line["at"]))
            transfer.at = line["at"]
            transfer.sop_classes[sop_class] += 1
        return transfers


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Return a journal's lines. A line that a crash or a full disk cut off is left out."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                yield json.loads(line)
            except ValueError:
                continue
