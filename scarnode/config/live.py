"""Which settings a running node applies when it reads config.ini again, and which need a restart."""

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

All others, [recognition] and every [destination:NAME] are applied.
"""


def merge(running: Settings, read: Settings) -> tuple[Settings, tuple[str, ...]]:
    """Return the settings that a running node can apply, and the keys that need a restart.

    If such a key changed, the whole section is kept. Half a section would be a mix that nobody wrote, for example a TLS
    port without the authority that peers are checked by.

    Parameters
    ----------
    running, read : Settings
        The current ones, and those of config.ini.

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
