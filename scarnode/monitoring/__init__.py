"""watch: the ledger's state -> alarms, messages to people, metrics. No patient data leaves through this room."""

from scarnode.monitoring.model import Channel, Facts, Message, Sending

__all__ = ["Channel", "Facts", "Message", "Sending"]
