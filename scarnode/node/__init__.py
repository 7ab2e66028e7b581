"""The running service: its roles, tasks, worker processes."""
