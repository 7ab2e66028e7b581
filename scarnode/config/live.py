"""What a running node takes over when config.ini is read again, and what needs a restart."""

from __future__ import annotations

from scarnode.config.read import SECTIONS
from scarnode.config.settings import Settings

RESTART: dict[str, tuple[str, ...]] = {
    "node": ("ae_title", "host", "port", "direct_store"),
    "tls": ("port", "only"),
    "spool": ("path",),
    "results": ("path",),
    "ledger": ("url",),
    "cluster": ("broker",),
    "segment": ("weights", "workers"),
    "web": ("port", "tls", "proxy", "host", "names"),
    "audit": ("url", "ca_file", "source_id", "enterprise_site_id"),
}
"""Keys of each section that need a restart: ports, folders, the ledger, worker processes and whatever is built on them.

All others, [recognition] and every [destination:NAME] are taken over.
"""


def merge(running: Settings, read: Settings) -> tuple[Settings, tuple[str, ...]]:
    """Return the settings a running node can take over, and what it can not.

    A section in which a key changed that needs a restart is kept whole: half of it would be something that nobody wrote
    (a port for TLS without the authority by which callers are checked, for example).

    Parameters
    ----------
    running, read : Settings
        Those of now, and those that config.ini has.

    Returns
    -------
    Settings
    tuple of str
        Each key that needs a restart, as ``[section] key``.
    """
    kept: dict[str, object] = {}
    named: list[str] = []
    for section in SECTIONS:
        ours, theirs = getattr(running, section), getattr(read, section)
        changed = [key for key in RESTART.get(section, ()) if getattr(ours, key) != getattr(theirs, key)]
        if changed:
            kept[section] = ours
            named += [f"[{section}] {key}" for key in changed]
    return read.model_copy(update=kept), tuple(named)
