"""deliver: result files go to their destinations, and every one of them gets an answer that can be acted on.

`send` takes files and a `Destination` (C-STORE) or a `WebDestination` (STOW-RS) and gives one `Outcome` per file; it
never raises for what a peer does. `echo` asks a destination whether it is there. `next_delay` says when to try again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scarnode.dicom.scu.destination import About, Destination, Outcome, WebDestination
from scarnode.util.backoff import next_delay

__all__ = ["About", "Destination", "Outcome", "WebDestination", "echo", "next_delay", "send"]


def send(
    paths: Sequence[Path], destination: Destination | WebDestination, calling_ae_title: str
) -> tuple[Outcome, ...]:
    """Send files to a destination.

    Parameters
    ----------
    paths : sequence of Path
        DICOM files with file meta information.
    destination : Destination or WebDestination
    calling_ae_title : str
        Our own AE title; a `WebDestination` is not told it.

    Returns
    -------
    tuple of Outcome
        One for each path, in their order. What the peer acknowledged before the line broke is ok, the others can be
        retried. An object stored with a warning is ok, and so is one that the peer has already.
    """
    # neither protocol's library is light: not for those who only need the types
    if isinstance(destination, WebDestination):
        from scarnode.dicom.web import stow

        return stow.send(paths, destination)
    from scarnode.dicom.scu import store

    return store.send(paths, destination, calling_ae_title)


def echo(destination: Destination | WebDestination, calling_ae_title: str) -> Outcome:
    """Ask a destination whether it is there and takes our calls: by C-ECHO, or by a search for a study it has not.

    Takes what `send` takes.

    Returns
    -------
    Outcome
        With path None.
    """
    if isinstance(destination, WebDestination):
        from scarnode.dicom.web import stow

        return stow.echo(destination)
    from scarnode.dicom.scu import store

    return store.echo(destination, calling_ae_title)
