"""From a DICOM association to durable files."""

from scarnode.receive.index import ReceivedInstance, describe
from scarnode.receive.scp import listen
from scarnode.receive.spool import Incoming, Spool

__all__ = ["Incoming", "ReceivedInstance", "Spool", "describe", "listen"]
