"""Who may talk to the node: calling AE titles, and where each may come from."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from scarnode.dicom.scp.rejection import Reason

Network = IPv4Network | IPv6Network
_HOST_NAME = re.compile(r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,62})\.)*[a-z]([a-z0-9-]{0,62})", re.IGNORECASE)


@dataclass(frozen=True)
class AllowedPeer:
    """A calling AE title that may associate.

    Attributes
    ----------
    ae_title : str
    source : network, str or None
        Where it may come from: an address or network, a host name (asked of the operating system at each association),
        or None: anywhere.
    """

    ae_title: str
    source: Network | str | None = None

    def __str__(self) -> str:
        return self.ae_title if self.source is None else f"{self.ae_title}@{self.source}"


def check_ae_title(value: str) -> str:
    """Hold an AE title to PS3.5 (VR AE): 1-16 characters of the default repertoire, no backslash.

    Raises
    ------
    ValueError
    """
    value = value.strip()
    if not 1 <= len(value) <= 16 or not value.isascii() or not value.isprintable() or "\\" in value:
        raise ValueError("an AE title is 1 to 16 printable ASCII characters without a backslash")
    return value


def parse_allowed_peer(text: str) -> AllowedPeer:
    """Read ``TITLE`` or ``TITLE@ADDRESS``, where ADDRESS is an IP address, a network (10.1.2.0/24) or a host name.

    Raises
    ------
    ValueError
        Saying what is allowed.
    """
    if "@" not in text:
        return AllowedPeer(check_ae_title(text))
    title, _, place = (part.strip() for part in text.rpartition("@"))
    try:
        return AllowedPeer(check_ae_title(title), ip_network(place))
    except ValueError as error:
        if "host bits" in str(error):
            right = ip_network(place, strict=False)
            raise ValueError(
                f"{place!r} is an address with a network's length: write {right}, or the address alone"
            ) from None
    if not _HOST_NAME.fullmatch(place):
        raise ValueError(f"TITLE@ADDRESS; {place!r} is no IP address, network (10.1.2.0/24) or host name")
    return AllowedPeer(check_ae_title(title), place)


def parse_source(host: str) -> Network | str:
    """Return a destination's host as the source of a `AllowedPeer`: an address, or a name."""
    try:
        return ip_network(host.strip())
    except ValueError:
        return host.strip()


def plain_address(address: str) -> IPv4Address | IPv6Address:
    """Return a peer's address without what only its socket knows: IPv4 in IPv6 clothes, an interface's name."""
    found = ip_address(address.partition("%")[0])
    return getattr(found, "ipv4_mapped", None) or found


def check_peer(callers: Sequence[AllowedPeer], calling_ae_title: str, address: str) -> Reason | None:
    """Describe why a caller may not associate, or None where it may.

    Parameters
    ----------
    callers : sequence of Caller
        Who may; empty: anyone.
    calling_ae_title : str
        Without spaces around it.
    address : str
        The peer's IP address.

    Returns
    -------
    Reason or None
    """
    if not callers:
        return None
    sources = [caller.source for caller in callers if caller.ae_title == calling_ae_title]
    if not sources:
        return Reason.CALLING_AE_TITLE
    peer = plain_address(address)
    if any(source is None or (not isinstance(source, str) and peer in source) for source in sources):
        return None
    unresolved = False
    for name in (source for source in sources if isinstance(source, str)):
        try:
            entries = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except OSError:  # the name service does not know it, or does not answer: that may pass
            unresolved = True
            continue
        if peer in {plain_address(str(entry[4][0])) for entry in entries}:
            return None
    return Reason.UNRESOLVED if unresolved else Reason.CALLING_ADDRESS
