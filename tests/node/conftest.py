"""The ledgers of tests/ledger, for the tasks that work on them."""

from tests.ledger.conftest import database, postgres, shared_url

__all__ = ["database", "postgres", "shared_url"]
