"""The ledger: every job, its state, and why.

`scarnode.ledger.states` says which states there are; `scarnode.ledger.ledger.Ledger` opens the database. The package
itself imports the states alone: a worker has no ledger, and without SQLAlchemy needs 30 MB and half a second less.
"""

from scarnode.ledger.states import FINAL, JobOrigin, JobState

__all__ = ["FINAL", "JobOrigin", "JobState"]
