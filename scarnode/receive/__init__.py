"""From a DICOM association to durable files."""

from scarnode.receive.commitment import CommitmentReport, Reporters, TakeReport, answer_report
from scarnode.receive.door import Door, Listener
from scarnode.receive.incoming import Incoming
from scarnode.receive.index import ReceivedInstance, describe
from scarnode.receive.limits import Limits
from scarnode.receive.peers import Caller, read_place
from scarnode.receive.refusals import Reason, Refusal
from scarnode.receive.scp import listen
from scarnode.receive.spool import Spool

__all__ = [
    "Caller",
    "CommitmentReport",
    "Door",
    "Incoming",
    "Limits",
    "Listener",
    "Reason",
    "ReceivedInstance",
    "Refusal",
    "Reporters",
    "Spool",
    "TakeReport",
    "answer_report",
    "describe",
    "listen",
    "read_place",
]
