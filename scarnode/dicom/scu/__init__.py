"""Service class user: files go to a destination, and every one of them gets an answer that can be acted on.

`Destination` is what every destination can do; `DimseDestination` does it by C-STORE, and
`scarnode.dicom.web.WebDestination` by STOW-RS. `send` and `echo` call an application entity (`RemoteAE`) by DIMSE. None
of them raises for what a peer does: an `Outcome` says what became of it.
"""

from scarnode.dicom.scu.destination import About, Check, Destination, Outcome
from scarnode.dicom.scu.dimse import DimseDestination
from scarnode.dicom.scu.remote import RemoteAE
from scarnode.dicom.scu.store import echo, send

__all__ = ["About", "Check", "Destination", "DimseDestination", "Outcome", "RemoteAE", "echo", "send"]
