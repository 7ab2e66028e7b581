"""How many studies a second does one ledger take? The whole walk of synthetic studies, in the ledger alone.

    python benchmarks/shared_ledger.py [--images 240] [--studies 40] [--hands 1 2 4] [--url URL]

Each hand is a process that takes studies through the ledger one after the other: its images are registered, the study
is searched, its job claimed and ended, three objects reported as sent; there are no files, no network and no PACS. On
SQLite in a temporary folder and, by tests/harness, on a PostgreSQL of our own with durable commits; or on `--url`, an
empty database. Prints studies a second.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from sqlalchemy import text

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from scarnode.ledger.ledger import Ledger
from scarnode.ledger.model import DeliveryReport
from tests.harness.postgres import Postgres
from tests.ledger.builders import TO_PACS, analysed, plan, received, verdict

BATCH = 200
"""Instances that a registrar writes at once."""


def hand(url: str, number: int, studies: int, images: int, start: float) -> None:
    """Take studies through the ledger."""
    ledger = Ledger(url, f"hand {number}")
    time.sleep(max(0.0, start - time.time()))
    for study in range(studies):
        uid = f"1.{number}.{study}.{int(start)}"
        some = [replace(received(image, uid), path=f"00/{uid}.{image}.dcm") for image in range(images)]
        for first in range(0, images, BATCH):
            ledger.studies.add_instances(some[first : first + BATCH])
        with ledger.reading() as session:
            query = text("SELECT id FROM study WHERE study_instance_uid = :uid")
            found = session.execute(query, {"uid": uid}).scalar_one()
        newest, _ = ledger.studies.study_files(found)
        ledger.studies.begin_search(found)
        ledger.studies.close_study(found, newest, [verdict()], [plan(uid)])
        if claimed := ledger.jobs.claim(f"hand{number}:0", 600):
            ledger.jobs.finish(claimed, analysed(claimed.key), TO_PACS)
        due = ledger.deliveries.due_deliveries("pacs", limit=3)
        ledger.deliveries.report_deliveries([DeliveryReport(one.id, True, "sent", None) for one in due])
    ledger.close()


def measure(url: str, hands: int, studies: int, images: int) -> float:
    """Give the studies a second that so many hands take through a ledger."""
    Ledger(url, "bench").close()
    start = time.time() + 4 + hands
    context = multiprocessing.get_context("spawn")
    each = max(1, studies // hands)
    processes = [context.Process(target=hand, args=(url, number, each, images, start)) for number in range(hands)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode:
            raise RuntimeError("a hand failed")
    return hands * each / (time.time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=240)
    parser.add_argument("--studies", type=int, default=40)
    parser.add_argument("--hands", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--url")
    chosen = parser.parse_args()

    def show(name: str, url: str, hands: int) -> None:
        rate = measure(url, hands, chosen.studies, chosen.images)
        print(f"{name:12} {hands} hands: {rate:6.1f} studies a second, {rate * chosen.images:7.0f} images", flush=True)

    for hands in chosen.hands:
        if chosen.url:
            show("given", chosen.url, hands)
            continue
        with tempfile.TemporaryDirectory() as folder:
            show("SQLite", f"sqlite:///{folder}/ledger.sqlite", hands)
        with Postgres(durable=True) as server:
            show("PostgreSQL", server.url(server.make()), hands)


if __name__ == "__main__":
    main()
