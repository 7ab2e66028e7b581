"""`Node.reload_settings`: every part goes by the new settings, in the same process."""

from __future__ import annotations

import pytest

from scarnode.config import (
    DestinationSection,
    LedgerSection,
    NodeSection,
    NotifySection,
    ReportSection,
    ResultsSection,
    RetentionSection,
    SegmentSection,
    Settings,
    SpoolSection,
    StudySection,
    WebSection,
)
from scarnode.dicom.scp.peers import parse_allowed_peer
from scarnode.node.node import Node
from scarnode.node.worker import Worker
from tests.harness.ledger import query
from tests.harness.tools import free_port, wait_until
from tests.ledger.builders import TO_PACS, finished_job


@pytest.fixture
def node(tmp_path, monkeypatch):
    """A node without a network: its worker never gets ready."""
    monkeypatch.setattr(Worker, "start", lambda self: self._stopped.wait() and None)
    monkeypatch.setattr(Worker, "ready", True)
    node = Node(settings(tmp_path))
    yield node
    node.stop()


def settings(folder, **sections) -> Settings:
    usual = {
        "node": NodeSection(host="127.0.0.1", port=0),
        "spool": SpoolSection(path=folder / "spool"),
        "results": ResultsSection(path=folder / "results"),
        "ledger": LedgerSection(url=f"sqlite:///{folder / 'ledger.sqlite'}"),
        "study": StudySection(quiet_seconds=1000),
        "web": WebSection(port=0),
        "destinations": {"pacs": away(), "other": away()},
    }
    return Settings(**{**usual, **sections})


def away(**more) -> DestinationSection:
    return DestinationSection(host="127.0.0.1", port=free_port(), ae_title="AWAY", **more)


def test_every_part_goes_by_the_new_settings(node, tmp_path):
    kept = node.reload_settings(
        settings(
            tmp_path,
            node=NodeSection(
                host="127.0.0.1",
                port=0,
                calling_ae_titles=(parse_allowed_peer("MR1"),),
                max_associations=3,
                idle_timeout_seconds=7,
            ),
            spool=SpoolSection(path=tmp_path / "spool", min_free_percent=1, min_free_gigabytes=0.5),
            segment=SegmentSection(time_limit_seconds=77, threads=3),
            retention=RetentionSection(sources_days=9),
            report=ReportSection(failures=False),
            notify=NotifySection(webhook_url="http://127.0.0.1:1/"),
            destinations={"pacs": away(objects=("pdf",)), "new": away(commitment=True)},
        )
    )
    assert kept == ()
    assert {caller.ae_title for caller in node.receiving.access_policy.callers} >= {"MR1", "AWAY"}
    assert (
        node.receiving.access_policy.places.limits.max_associations,
        node.receiving.access_policy.limits.idle_timeout,
    ) == (3, 7)
    assert node.receiving.listeners[0].ae.maximum_associations == 3
    assert node.runtime.spool.floor.gigabytes == 0.5
    assert node.delivering.janitor.settings.sources_days == 9
    [worker] = node.working.workers
    assert (worker._settings.threads, worker._settings.floor.percent, worker._time_limit) == (3, 1, 77)
    assert "pdf" in worker._settings.kinds
    assert (node.receiving._reporters.titles, node.receiving._reporters.only) == ({"AWAY"}, {"AWAY"})
    tasks = node.runtime.scheduler.names
    assert {"deliver-pacs", "deliver-new", "commit-new"} <= tasks
    assert not {"deliver-other", "failures"} & tasks
    facts = node.facts()
    assert (facts.destinations, facts.callers) == (("pacs", "new"), ("MR1",))
    node.reload_settings(settings(tmp_path))
    assert node.receiving.access_policy.callers == ()
    assert (node.receiving._reporters.titles, node.receiving._reporters.only) == (frozenset(), frozenset())


def test_what_waited_for_a_destination_that_is_gone_counts_as_failed(node, tmp_path):
    both = {**TO_PACS, "other": ("seg",)}
    finished_job(node.ledger, tmp_path / "results", both)
    node.reload_settings(settings(tmp_path, destinations={"pacs": away()}))

    def state_of(name: str) -> set[tuple[str, str]]:
        rows = query(tmp_path / "ledger.sqlite", f"SELECT state, detail FROM delivery WHERE destination = '{name}'")
        return {(row["state"], row["detail"]) for row in rows}

    wait_until(
        lambda: state_of("other") == {("failed", "the destination is no longer in config.ini")}, 20, "the failed one"
    )
    assert {state for state, _ in state_of("pacs")} == {"pending"}
