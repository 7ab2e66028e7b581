"""What node and people ask of the ledger has the same answer on SQLite and on PostgreSQL."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import text

from scarnode.ledger.ledger import Ledger
from scarnode.monitoring import queries
from scarnode.monitoring.counters import Durations, LedgerCounts
from tests.ledger.builders import open_ledger, received
from tests.ledger.history import make_history
from tests.ledger.questions import PERSON, WEB

WATCH = {
    "jobs_in": lambda ledger: queries.jobs_in(ledger, "failed"),
    "oldest_queued": lambda ledger: queries.oldest_queued(ledger, 1e12),
    "oldest_unsearched": queries.oldest_unsearched,
    "oldest_refused": lambda ledger: queries.oldest_refused(ledger, "pacs"),
    "flagged_among": lambda ledger: queries.flagged_among(ledger, 20),
    "durations": lambda ledger: Durations(ledger).buckets(),
    "received": lambda ledger: sorted(LedgerCounts(ledger).look(["pacs"], 20).received.items()),
}
"""What alarms and metrics ask."""


def _told(answer: object) -> str:
    """Write an answer down, without the numbers of verdicts: SQLite gives those of deleted rows again."""
    return re.sub(r", '?id'?[=:] ?\d+[)}]", "", repr(answer))


@pytest.mark.slow
def test_both_databases_give_the_same_answers(tmp_path, shared_url):
    for url in (f"sqlite:///{tmp_path / 'ledger.sqlite'}", shared_url):
        make_history(url)
    on_file, on_server = open_ledger(tmp_path), Ledger(shared_url, "test")
    questions_of_all = PERSON | WEB | WATCH
    differ = {name for name, ask in questions_of_all.items() if _told(ask(on_file)) != _told(ask(on_server))}
    assert differ == set()
    for view in ("job_summary", "series_verdict", "delivery_status"):
        with on_file.reading() as file, on_server.reading() as server:
            rows = [session.execute(text(f"SELECT * FROM {view}")).mappings().all() for session in (file, server)]
        assert rows[0]
        assert sorted(_told(dict(row)) for row in rows[0]) == sorted(_told(dict(row)) for row in rows[1])
    on_file.close()
    on_server.close()


@pytest.mark.slow
def test_numbers_of_images_have_64_bits_on_the_server(shared_url):
    ledger = Ledger(shared_url, "test")
    with ledger.store.engine.begin() as connection:
        connection.execute(text("ALTER SEQUENCE instance_id_seq RESTART WITH 5000000000"))
    ledger.studies.add_instances([received(1)])
    [study] = ledger.studies.quiet_studies(0)
    assert ledger.studies.study_files(study)[0] == 5_000_000_000
    ledger.close()
