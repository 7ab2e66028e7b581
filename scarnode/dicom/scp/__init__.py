"""From a DICOM association to durable files."""

from scarnode.dicom.scp.access import AccessPolicy, Listener
from scarnode.dicom.scp.commitment import CommitmentReport, Reporters, TakeReport, answer_report
from scarnode.dicom.scp.instance import ReceivedInstance, describe
from scarnode.dicom.scp.limits import Limits
from scarnode.dicom.scp.peers import AllowedPeer, parse_source
from scarnode.dicom.scp.rejection import Reason, Rejection
from scarnode.dicom.scp.server import listen
from scarnode.dicom.spool.incoming import Incoming
from scarnode.dicom.spool.spool import Spool

__all__ = [
    "AccessPolicy",
    "AllowedPeer",
    "CommitmentReport",
    "Incoming",
    "Limits",
    "Listener",
    "Reason",
    "ReceivedInstance",
    "Rejection",
    "Reporters",
    "Spool",
    "TakeReport",
    "answer_report",
    "describe",
    "listen",
    "parse_source",
]
