"""Prometheus metrics (docs/monitoring.md): from the last look at the ledger and what the node knows of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from scarnode import __version__
from scarnode.dicom.scp.rejection import Reason, printable
from scarnode.ledger.states import DeliveryState, JobState
from scarnode.monitoring.ledger_file import LEDGER_ALARM
from scarnode.monitoring.model import Facts
from scarnode.monitoring.monitor import Monitor

OTHERS = "other"
"""Label of all other senders: anyone can make up an AE title, and each would be a time series."""

MOST_SENDERS = 50
"""Senders that have a label of their own where config.ini lists none: those that sent first."""


class Metrics(Collector):
    """All metrics of a node, as a Prometheus collector. No patient data, and labels of few values.

    Parameters
    ----------
    watch : Watch
    facts : callable
        Gives what the node knows of itself.
    """

    def __init__(self, watch: Monitor, facts: Callable[[], Facts]) -> None:
        self._watch, self._facts = watch, facts
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """Return them in Prometheus' text format."""
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        """Return nothing: what there is, `collect` tells."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Return every metric."""
        facts = self._facts()
        yield InfoMetricFamily(
            "scarnode_build", "Version and network.", {"version": __version__, "model_sha256": facts.model}
        )
        yield from self._of_ledger(facts)
        yield from self._of_node(facts)
        yield from self._of_messages()

    def _of_ledger(self, facts: Facts) -> Iterator[Metric]:
        figures = self._watch.figures
        yield _gauge("scarnode_ledger_looked_at_timestamp_seconds", "When the ledger was last counted.", figures.at)
        states = {state.value: figures.jobs.get(state.value, 0) for state in JobState}
        yield _gauges("scarnode_jobs", "Jobs in each state.", "state", states)
        yield _gauge(
            "scarnode_job_oldest_waiting_seconds", "How long the oldest queued job waits; 0: none.", figures.job_waits
        )
        yield _gauge(
            "scarnode_study_oldest_waiting_seconds",
            "Time since the last image of the study that waits longest to be searched; 0: none.",
            figures.study_waits,
        )
        deliveries = GaugeMetricFamily(
            "scarnode_deliveries", "Result objects by destination and state.", labels=["destination", "state"]
        )
        for name in facts.destinations:
            for state in DeliveryState:
                deliveries.add_metric([name, state.value], figures.deliveries.get((name, state.value), 0))
        yield deliveries
        yield _gauges(
            "scarnode_delivery_oldest_waiting_seconds",
            "How long results wait for a destination that did not take them; 0: none.",
            "destination",
            {name: figures.delivery_waits.get(name, 0.0) for name in facts.destinations},
        )
        counts, sizes = _by_caller(figures.received, facts.callers)
        yield _counters("scarnode_instances_received", "Instances registered.", "calling_ae", counts)
        yield _counters("scarnode_received_bytes", "Bytes of these instances.", "calling_ae", sizes)
        yield _gauge(
            "scarnode_results_flagged_ratio",
            "Share of flagged results among the last ones.",
            figures.flagged / figures.results if figures.results else 0.0,
        )
        alarms = [*figures.alarms, *([LEDGER_ALARM] if facts.ledger_trouble else [])]
        yield _gauges("scarnode_alarm", "1 for every alarm that stands.", "alarm", dict.fromkeys(alarms, 1))
        buckets, total = self._watch.durations.buckets()
        yield HistogramMetricFamily(
            "scarnode_analysis_seconds", "Time that analyses took.", buckets=buckets, sum_value=total
        )

    def _of_node(self, facts: Facts) -> Iterator[Metric]:
        yield _gauge(
            "scarnode_ready", "1 where images can be taken and analysed.", not self._watch.why_not_ready(facts)
        )
        yield _gauge(
            "scarnode_ledger_in_place",
            "1 where the ledger's files are those that the node opened.",
            not facts.ledger_trouble,
        )
        ports = {str(port): is_open for port, is_open in facts.ports.items()}
        yield _gauges("scarnode_listener_up", "Whether a port is listened on.", "port", ports)
        workers = {str(slot): ready for slot, ready in enumerate(facts.workers)}
        yield _gauges("scarnode_worker_up", "Whether a worker holds the network.", "slot", workers)
        yield _gauge("scarnode_associations", "Associations that are open.", facts.associations)
        refused = {reason.name.lower(): facts.refused.get(reason.name, 0) for reason in Reason}
        what = "Associations refused or cut off."
        yield _counters("scarnode_associations_refused", what, "reason", refused)
        yield CounterMetricFamily(
            "scarnode_instances_refused", "Instances refused for want of disk space.", facts.instances_refused
        )
        for what, words in (("free", "that can be written"), ("total", "there are"), ("floor", "that shall stay free")):
            sizes = {name: getattr(room, what) for name, room in facts.disks.items()}
            yield _gauges(f"scarnode_disk_{what}_bytes", f"Bytes {words} on the disk of a folder.", "folder", sizes)
        yield _gauge(
            "scarnode_config_last_reload_successful", "Whether config.ini could be taken over.", facts.settings_good
        )
        yield _gauge(
            "scarnode_config_taken_timestamp_seconds", "When config.ini was taken over.", facts.settings_taken_at
        )
        if facts.certificate_ends is not None:
            yield _gauge(
                "scarnode_certificate_end_timestamp_seconds", "When the certificate ends.", facts.certificate_ends
            )

    def _of_messages(self) -> Iterator[Metric]:
        messages = CounterMetricFamily(
            "scarnode_notifications", "Messages on alarms, by channel and outcome.", labels=["channel", "outcome"]
        )
        for name, notifier in self._watch.notifiers.items():
            messages.add_metric([name, "sent"], notifier.sent)
            messages.add_metric([name, "failed"], notifier.failed)
        yield messages


def _by_caller(
    received: Mapping[str, tuple[int, int]], callers: tuple[str, ...]
) -> tuple[dict[str, float], dict[str, float]]:
    """Sum up by sender: those that config.ini lists, or, where it lists none, the first that sent something."""
    known = callers or tuple(received)[:MOST_SENDERS]
    counts: dict[str, float] = dict.fromkeys((*map(printable, known), OTHERS), 0)
    sizes = dict(counts)
    for title, (count, size) in received.items():
        label = printable(title) if title in known else OTHERS
        counts[label] += count
        sizes[label] += size
    return counts, sizes


def _gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(name, what, float(value))


def _gauges(name: str, what: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, what, labels=[label])
    for key, value in values.items():
        family.add_metric([key], float(value))
    return family


def _counters(name: str, what: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, what, labels=[label])
    for key, value in values.items():
        family.add_metric([key], float(value))
    return family
