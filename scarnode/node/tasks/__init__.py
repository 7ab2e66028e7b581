"""The tasks of a running node, each run by the scheduler."""
