"""The ledger: every job, its state, and why."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scarnode.ledger.ledger import Ledger
    from scarnode.ledger.tables import FINAL, JobOrigin, JobState

__all__ = ["FINAL", "JobOrigin", "JobState", "Ledger"]


def __getattr__(name: str) -> Any:
    """Import the ledger when it is asked for: a worker has none, and needs 30 MB and half a second less."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("scarnode.ledger.ledger" if name == "Ledger" else "scarnode.ledger.tables"), name)
