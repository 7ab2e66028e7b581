"""An application entity that is called by DIMSE."""

from __future__ import annotations

from dataclasses import dataclass

from scarnode.dicom.tls import Protection


@dataclass(frozen=True)
class RemoteAE:
    """A remote application entity: its AE title, and how it is reached.

    Attributes
    ----------
    host : str
        Name or address.
    port : int
    ae_title : str
        The AE title we call.
    timeout : float
        Seconds for which the peer may leave us without an answer: to the TCP connection, the association request, a
        C-STORE (here the time the transfer takes is added) and the release.
    tls : Protection or None
        How it is spoken to by TLS; None: without.

    Raises
    ------
    ValueError
        If an attribute can not be used.
    """

    host: str
    port: int
    ae_title: str
    timeout: float = 30.0
    tls: Protection | None = None

    def __post_init__(self) -> None:
        if not self.host.strip():
            raise ValueError("host is empty")
        if not 1 <= self.port <= 65535:
            raise ValueError(f"port {self.port} is not within 1 to 65535")
        title = self.ae_title.strip()
        if not 1 <= len(title) <= 16 or not title.isascii() or not title.isprintable() or "\\" in title:
            raise ValueError(f"AE title {title!r} is not 1 to 16 printable ASCII characters without a backslash")
        check_timeout(self.timeout)

    def __str__(self) -> str:
        return f"{self.ae_title} at {self.host}:{self.port}" + (" (TLS)" if self.tls else "")

    def advice(self, name: str, calling_ae_title: str) -> str:
        """Return what a person can do where it does not answer; `name` is what config.ini calls it."""
        return (
            f"Check host, port and ae_title of {name}, and that {self.ae_title} knows the AE title {calling_ae_title}; "
            "is it on?"
        )


def check_timeout(timeout: float) -> None:
    """Raise ValueError for a timeout that is no number of seconds."""
    if not 0 < timeout < float("inf"):
        raise ValueError(f"timeout {timeout} is not a number of seconds above 0")
