"""The ledger's promises hold on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scarnode.ledger.ledger import Ledger
from tests.ledger.builders import URL_FILE


@pytest.fixture(scope="session")
def postgres() -> Iterator[object]:
    """A PostgreSQL for the tests of this process, and in it a ledger without rows to be copied."""
    from tests.harness.postgres import Postgres

    with Postgres() as server:
        server.empty = server.make()
        Ledger(server.url(server.empty), "test").close()
        yield server


@pytest.fixture
def shared_url(postgres) -> Iterator[str]:
    """URL of a new ledger on PostgreSQL."""
    name = postgres.make(postgres.empty)
    yield postgres.url(name)
    postgres.drop(name)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Have `builders.open_ledger` use one database, then the other."""
    if request.param == "postgresql":
        (tmp_path / URL_FILE).write_text(request.getfixturevalue("shared_url"))
