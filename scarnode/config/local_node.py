"""How processes on this machine reach the running node, by config.ini."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Literal

from scarnode.dicom.scp.peers import AllowedPeer, Network, parse_source
from scarnode.dicom.scu.remote import RemoteAE
from scarnode.dicom.tls import Protection, own_name

if TYPE_CHECKING:
    from scarnode.config import Settings
    from scarnode.dicom.query import Link


def own_address(host: str) -> str:
    """Return the address by which this machine reaches a node that listens on `host`."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


def own_source(host: str) -> Network | str:
    """Return the source address of associations from this machine to a node that listens on `host`."""
    return parse_source(own_address(host))


def own_peers(settings: Settings) -> tuple[AllowedPeer, ...]:
    """Return the peers that the node's own commands need.

    They are: `scarnode send`, `pull` and `doctor` from this machine, under the node's own AE title; `pull` by C-GET,
    under the archive's AE title; and the archives that send by C-MOVE, each from its own address.
    """
    here = own_source(settings.node.host)
    archives = [
        AllowedPeer(source.ae_title, here if source.how == "get" else parse_source(source.host))
        for source in settings.sources.values()
    ]
    return (AllowedPeer(settings.node.ae_title, here), *archives)


def own_node(settings: Settings, timeout: float = 60.0) -> RemoteAE:
    """Return the node of config.ini as a peer for this machine; by TLS where it has no other port."""
    node, tls = settings.node, settings.tls
    host = own_address(node.host)
    if not (tls.only and tls.port):
        return RemoteAE(host, node.port or 1, node.ae_title, timeout=timeout)
    identity = tls.identity()
    if identity is None:  # `TlsSection` refuses a port without one
        raise ValueError("a TLS port without a certificate")
    protection = Protection(identity, tls.ca_file or identity.certificate, own_name(identity))
    return RemoteAE(host, tls.port, node.ae_title, timeout=timeout, tls=protection)


def make_link(
    settings: Settings,
    arrived: Callable[[str, Collection[str]], int],
    name: str,
    how: Literal["move", "get"] | None = None,
) -> Link:
    """Return the link from a source of config.ini to the node.

    Parameters
    ----------
    settings : Settings
    arrived : callable
        Returns how many of a study's instances the ledger has (`scarnode.dicom.query.Link`).
    name : str
        Of the source.
    how : {"move", "get"}, optional
        Overrides that of the source.
    """
    from scarnode.dicom.query import Link

    archive = settings.archives()[name]
    return Link(replace(archive, how=how or archive.how), own_node(settings), settings.node.ae_title, arrived)
