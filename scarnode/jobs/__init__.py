"""The ledger: every job, its state, and why."""

from scarnode.jobs.ledger import Ledger
from scarnode.jobs.tables import FINAL, JobState

__all__ = ["FINAL", "JobState", "Ledger"]
