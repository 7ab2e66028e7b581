"""The ledger: every job, its state, and why."""

from scarnode.jobs.ledger import Ledger
from scarnode.jobs.tables import FINAL, JobOrigin, JobState

__all__ = ["FINAL", "JobOrigin", "JobState", "Ledger"]
