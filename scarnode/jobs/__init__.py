"""The ledger: every job, its state, and why."""
