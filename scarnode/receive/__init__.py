"""From a DICOM association to durable files."""

from scarnode.receive.door import Door
from scarnode.receive.index import ReceivedInstance, describe
from scarnode.receive.limits import Limits
from scarnode.receive.peers import Caller
from scarnode.receive.refusals import Reason, Refusal
from scarnode.receive.scp import listen
from scarnode.receive.spool import Incoming, Spool

__all__ = [
    "Caller",
    "Door",
    "Incoming",
    "Limits",
    "Reason",
    "ReceivedInstance",
    "Refusal",
    "Spool",
    "describe",
    "listen",
]
