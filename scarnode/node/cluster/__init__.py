"""Several processes on one ledger: heartbeats, task locks, hints."""
