"""Metrics and health: true to the ledger, in Prometheus' format, cheap, and what docs, dashboard and rules name."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from scarnode.config import DestinationSection, Settings, WebSection
from scarnode.ledger.ledger import Ledger
from scarnode.ledger.model import DeliveryReport
from scarnode.ledger.task_locks import TaskLocks
from scarnode.monitoring import Facts, monitor
from scarnode.monitoring.metrics import Metrics
from scarnode.monitoring.monitor import Monitor
from scarnode.node.roles import ROLES
from scarnode.util.disk import DiskUsage
from scarnode.web import WebServer
from scarnode.web.monitoring import monitoring_router
from tests.harness.tools import free_port
from tests.ledger.builders import received
from tests.monitoring.test_alarm_rules import fail, queue, run

DOCS = Path(__file__).resolve().parents[2] / "docs"
SETTINGS = Settings(destinations={"pacs": DestinationSection(host="h", port=104, ae_title="PACS")})
GB = 10**9


def facts(**changes) -> Facts:
    usual = {
        "callers": ("SCANNER",),
        "destinations": ("pacs",),
        "ports": {11112: True},
        "workers": (True,),
        "associations": 2,
        "refused": {"TOO_MANY": 3},
        "instances_refused": 4,
        "disks": {"spool": DiskUsage(50 * GB, 100 * GB, 2 * GB)},
        "settings_taken_at": 1000.0,
        "settings_good": True,
        "certificate_ends": 2000.0,
        "model": "f" * 64,
        "roles": ROLES,
    }
    return Facts(**{**usual, **changes})


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}", actor="test")
    yield ledger
    ledger.close()


def exposed(watch: Monitor, of: Facts | None = None) -> dict[str, float]:
    """Give every sample as ``name{label="value"}``."""
    answer = Metrics(watch, lambda: of or facts()).text().decode()
    found = {}
    for family in text_string_to_metric_families(answer):
        for sample in family.samples:
            labels = ",".join(f'{key}="{value}"' for key, value in sorted(sample.labels.items()))
            found[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
    return found


def looked(ledger: Ledger) -> Monitor:
    watch = Monitor(ledger, lambda: SETTINGS, TaskLocks(ledger.store.engine))
    watch.look()
    return watch


def test_metrics_tell_what_the_ledger_holds(ledger):
    for number in range(3):
        run(ledger, number, ("FEW_SLICES",) if number else ())
    fail(ledger, 3)
    queue(ledger, 4)
    due = ledger.deliveries.due_deliveries("pacs")
    ledger.deliveries.report_deliveries([DeliveryReport(due[0].id, True, "", None)])
    ledger.deliveries.report_deliveries([DeliveryReport(due[1].id, False, "no", None)])
    with ledger.store.writing() as session:
        session.execute(text("UPDATE event SET at = at - 100"))
        session.execute(text("UPDATE instance SET calling_ae = 'STRANGER' WHERE id > 10"))
    watch = looked(ledger)
    watch.durations.add(700.0)
    found = exposed(watch)
    expected = {
        'scarnode_jobs{state="delivering"}': 3,
        'scarnode_jobs{state="failed"}': 1,
        'scarnode_jobs{state="queued"}': 1,
        'scarnode_jobs{state="done"}': 0,
        'scarnode_deliveries{destination="pacs",state="sent"}': 1,
        'scarnode_deliveries{destination="pacs",state="failed"}': 1,
        'scarnode_deliveries{destination="pacs",state="pending"}': 7,
        'scarnode_instances_received_total{calling_ae="SCANNER"}': 10,
        'scarnode_instances_received_total{calling_ae="other"}': 5,
        'scarnode_received_bytes_total{calling_ae="SCANNER"}': 1000,
        "scarnode_results_flagged_ratio": pytest.approx(2 / 3),
        'scarnode_alarm{alarm="failed_jobs"}': 1,
        'scarnode_analysis_seconds_bucket{le="1.0"}': 0,
        'scarnode_analysis_seconds_bucket{le="2.0"}': 3,
        'scarnode_analysis_seconds_bucket{le="600.0"}': 3,
        'scarnode_analysis_seconds_bucket{le="+Inf"}': 4,
        "scarnode_analysis_seconds_sum": 704.5,
        "scarnode_job_oldest_waiting_seconds": pytest.approx(100, abs=20),
        'scarnode_associations_refused_total{reason="too_many"}': 3,
        'scarnode_associations_refused_total{reason="idle"}': 0,
        "scarnode_instances_refused_total": 4,
        "scarnode_associations": 2,
        'scarnode_disk_free_bytes{folder="spool"}': 50 * GB,
        'scarnode_worker_up{slot="0"}': 1,
        "scarnode_ready": 1,
        'scarnode_notifications_total{channel="mail",outcome="sent"}': 0,
    }
    assert {key: found[key] for key in expected} == expected


def test_instances_are_counted_on_from_the_last_look_and_anew_after_a_restart(ledger, monkeypatch):
    monkeypatch.setattr(monitor, "SHARE", 1e9)
    ledger.studies.add_instances([received(number) for number in range(5)])
    watch = looked(ledger)
    ledger.studies.add_instances([received(number) for number in range(8)])
    watch.look()
    for one in (watch, looked(ledger)):
        assert exposed(one)['scarnode_instances_received_total{calling_ae="SCANNER"}'] == 8


def test_where_no_sender_is_listed_the_first_ones_have_labels_of_their_own(ledger, monkeypatch):
    monkeypatch.setattr(monitor, "SHARE", 1e9)
    titles = [f"MR{number}" for number in reversed(range(60))]
    titles[3] = 'A"\n\\B'
    ledger.studies.add_instances([replace(received(number), calling_ae=title) for number, title in enumerate(titles)])
    watch = looked(ledger)
    ledger.studies.add_instances([replace(received(100 + number), calling_ae="MR59") for number in range(4)])
    ledger.studies.add_instances([replace(received(200), calling_ae="AAA")])
    watch.look()
    for one in (watch, looked(ledger)):  # after a restart, too
        found = exposed(one, facts(callers=()))
        counts = {key: value for key, value in found.items() if key.startswith("scarnode_instances_received_total")}
        label = 'scarnode_instances_received_total{calling_ae="%s"}'
        assert len(counts) == 51
        assert (counts[label % "MR59"], counts[label % "MR10"], counts[label % "A???B"]) == (5, 1, 1)
        assert label % "MR9" not in counts
        assert label % "AAA" not in counts
        assert counts[label % "other"] == 11


def test_strange_titles_and_former_destinations_make_no_series(ledger):
    run(ledger, 1)
    with ledger.store.writing() as session:
        session.execute(text("UPDATE instance SET calling_ae = 'X' || id"))
        session.execute(text("UPDATE delivery SET destination = 'gone'"))
    series = exposed(looked(ledger))
    assert not [key for key in series if "X1" in key or "gone" in key]


def test_no_patient_data(ledger):
    run(ledger, 1)
    fail(ledger, 2)
    answer = Metrics(looked(ledger), facts).text().decode()
    for word in ("SYN-1", "PHANTOM", "A1", "1.2.3", "1.2.1"):
        assert f'"{word}' not in answer
        assert word not in re.sub(r"[0-9.e+-]+$", "", answer, flags=re.MULTILINE)


def test_every_metric_is_one_of_the_docs_and_named_by_convention(ledger):
    watch = looked(ledger)
    families = list(text_string_to_metric_families(Metrics(watch, facts).text().decode()))
    told = {
        family.name + ("_total" if family.type == "counter" else ""): (
            family.type,
            ", ".join(sorted({label for sample in family.samples for label in sample.labels} - {"le"})) or "none",
        )
        for family in families
        if family.name.startswith("scarnode_")
    }
    told["scarnode_alarm"] = ("gauge", "alarm")  # none stands
    rows = re.findall(
        r"^\| `(scarnode_\w+)` \| (\w+) \| ([^|]+) \|", (DOCS / "monitoring.md").read_text(), re.MULTILINE
    )
    assert {name: (kind, labels.replace("`", "").strip()) for name, kind, labels in rows} == told
    for family in families:
        assert family.documentation
        if family.type == "counter":
            assert not family.name.endswith(("_count", "_sum"))


def test_promtool_finds_no_fault(ledger):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    answer = Metrics(looked(ledger), facts).text()
    done = subprocess.run([promtool, "check", "metrics"], input=answer, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
    rules = [promtool, "check", "rules", str(DOCS / "prometheus-alerts.yml")]
    done = subprocess.run(rules, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", ["grafana.json", "prometheus-alerts.yml"])
def test_every_metric_that_dashboard_and_rules_name_exists(ledger, file):
    content = (DOCS / file).read_text()
    if file.endswith(".json"):
        content = "\n".join(target["expr"] for panel in json.loads(content)["panels"] for target in panel["targets"])
    named = set(re.findall(r"\b((?:scarnode|process)_[a-z_]+)\b", content))
    there = {key.partition("{")[0] for key in exposed(looked(ledger))} | {"scarnode_alarm"}
    assert len(named) > 5
    assert named <= there


def test_the_dashboard_is_one_that_grafana_imports():
    dashboard = json.loads((DOCS / "grafana.json").read_text())
    assert dashboard["schemaVersion"] >= 36
    [variable] = [one for one in dashboard["templating"]["list"] if one["type"] == "datasource"]
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    for panel in dashboard["panels"]:
        assert panel["datasource"]["uid"] == f"${{{variable['name']}}}"
        assert panel["title"]
        place = panel["gridPos"]
        assert 0 <= place["x"] <= place["x"] + place["w"] <= 24
    cells = Counter(
        (x, y)
        for panel in dashboard["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    )
    assert max(cells.values()) == 1, "no panel lies on another"


# --- health


@pytest.fixture
def client(ledger):
    """Give a client, the watch, and the facts as a dict that the test may change."""
    watch, changes = Monitor(ledger, lambda: SETTINGS, TaskLocks(ledger.store.engine)), {}
    app = FastAPI()
    metrics = Metrics(watch, lambda: facts(**changes))
    app.include_router(monitoring_router(metrics.text, lambda: watch.why_not_ready(facts(**changes))))
    server = WebServer(app, Settings(web=WebSection(port=free_port())))
    with requests.Session() as session:
        session.trust_env = False
        yield lambda path: session.get(f"http://127.0.0.1:{server.port}{path}", timeout=10), watch, changes
    server.stop()


def test_health_and_readiness(client):
    web, watch, changes = client
    assert (web("/healthz").status_code, web("/healthz").text) == (200, "ok\n")
    assert (web("/readyz").status_code, web("/readyz").text) == (200, "ok\n")
    assert web("/metrics").headers["content-type"].startswith("text/plain; version=")
    changes |= {
        "ports": {11112: True, 2762: False},
        "workers": (False,),
        "disks": {"spool": DiskUsage(GB, 100 * GB, 2 * GB)},
    }
    watch._written -= 100
    answer = web("/readyz")
    assert answer.status_code == 503
    assert re.sub(r"10\d s", "100 s", answer.text).splitlines() == [
        "port 2762 is not listened on",
        "the ledger could not be written for 100 s",
        "disk of spool: 1.0 GB free of 100.0 GB, floor 2.0 GB",
        "no worker holds the network",
    ]
    assert web("/healthz").status_code == 200
    assert "scarnode_ready 0.0" in web("/metrics").text


def test_a_ledger_that_is_locked_makes_the_node_not_ready_and_metrics_do_not_wait(ledger, monkeypatch):
    monkeypatch.setattr("scarnode.ledger.database.PATIENCE", 0.1)
    watch = looked(ledger)
    impatient = Ledger(str(ledger.store.engine.url), actor="test")
    watch._ledger = impatient
    with ledger.store.engine.connect() as connection:
        connection.execute(text("UPDATE alarm SET detail = ''"))
        watch._written -= monitor.UNWRITTEN
        with pytest.raises(Exception, match="locked"):
            watch.try_to_write()
        [reason] = watch.why_not_ready(facts())
        assert reason.startswith("the ledger could not be written for 3")
        start = time.monotonic()
        exposed(watch)
        assert time.monotonic() - start < monitor.UNWRITTEN
        connection.rollback()
    watch.try_to_write()
    assert watch.why_not_ready(facts()) == []
    impatient.close()
