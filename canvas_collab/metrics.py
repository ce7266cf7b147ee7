"""Metrics in Prometheus's format: the counters of the daemon's parts, and gauges that are read at each scrape."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping

from attrs import frozen
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from canvas_collab import __version__, compilation
from canvas_collab.counters import Counters, Histogram

PREFIX = "canvas_collab_"

#: How often the lateness of the reactor is measured, in seconds.
LATENESS_INTERVAL = 0.25


@frozen
class Gauges:
    """The state of the daemon at one moment.

    :ivar connections: connections to documents, by protocol.
    :ivar sockets: WebSockets, those included that have opened no document.
    :ivar documents: documents in memory.
    :ivar document_bytes: the memory that they take, about.
    :ivar backpressured: sockets under backpressure.
    :ivar unsaved_updates: updates that are not committed yet; `unsaved_bytes`, what they take in memory.
    :ivar lookups_waiting: handshakes and tokens that wait for a lookup.
    :ivar receiving_bytes: bytes of large messages that were received and not handled yet.
    :ivar problems: whether there is one, by the name of the part: 1 or 0.
    """

    connections: Mapping[str, int]
    sockets: int
    documents: int
    document_bytes: int
    backpressured: int
    unsaved_updates: int
    unsaved_bytes: int
    lookups_waiting: int
    receiving_bytes: int
    problems: Mapping[str, bool]


class DaemonCollector(Collector):
    """Turns :class:`~canvas_collab.counters.Counters` and :class:`Gauges` into metrics."""

    def __init__(self, counters: Counters, gauges: Callable[[], Gauges]) -> None:
        self._counters = counters
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        """All metrics, as they are now."""
        version = InfoMetricFamily(f"{PREFIX}build", "The version of the daemon and of its interpreter.")
        labels = {"version": __version__, "python": platform.python_version(), "execution": compilation.MODE}
        version.add_metric([], labels)
        yield version
        yield from self._counted()
        yield from self._observed()
        yield from self._current()

    def _counted(self) -> Iterator[Metric]:
        counters = self._counters
        for name, value, documentation in (
            ("updates_received", counters.updates_received, "Updates of clients that were merged into a document."),
            ("update_received_bytes", counters.update_bytes_received, "Bytes of these updates."),
            ("updates_sent", counters.updates_sent, "Messages with updates sent to clients, one for each recipient."),
            ("awareness_received", counters.awareness_received, "Awareness messages of clients, without echoes."),
            ("awareness_sent", counters.awareness_sent, "Awareness messages sent to clients, one for each recipient."),
            ("messages_skipped", counters.messages_skipped, "Messages that were not sent because of backpressure."),
            (
                "backpressure",
                counters.backpressure,
                "How often a socket came under backpressure.",
            ),
            ("syncs_in_parts", counters.syncs_in_parts, "Documents sent in parts, since the client's line is slow."),
            ("commits", counters.commits, "Group commits."),
            ("committed_updates", counters.committed_updates, "Updates in these commits."),
            ("commit_failures", counters.commit_failures, "Group commits that failed, and are retried."),
            ("snapshots", counters.snapshots, "Snapshots written."),
            ("compactions", counters.compactions, "Snapshots that were compacted."),
        ):
            yield CounterMetricFamily(PREFIX + name, documentation, value=value)
        denials = CounterMetricFamily(f"{PREFIX}denials", "Denied handshakes and documents.", labels=["status"])
        for status, count in counters.denials.items():
            denials.add_metric([str(status)], count)
        yield denials
        limits = CounterMetricFamily(
            f"{PREFIX}limits_exceeded", "How often a client exceeded a limit, by its setting.", labels=["limit"]
        )
        for setting, count in counters.limits.items():
            limits.add_metric([setting], count)
        yield limits
        closed = CounterMetricFamily(f"{PREFIX}closed", "Connections closed by the daemon.", labels=["code"])
        for code, count in counters.closed.items():
            closed.add_metric([str(code)], count)
        yield closed

    def _observed(self) -> Iterator[Metric]:
        counters = self._counters
        yield _histogram(
            "fanout_seconds",
            "From when an update was merged until it was sent; the oldest.",
            counters.fanout,
        )
        yield _histogram(
            "commit_seconds", "From when an update was queued until it was committed; the oldest.", counters.commit
        )
        yield _histogram("reactor_lateness_seconds", "How late the reactor runs timers.", counters.reactor_lateness)

    def _current(self) -> Iterator[Metric]:
        gauges = self._gauges()
        connections = GaugeMetricFamily(f"{PREFIX}connections", "Connections to documents.", labels=["protocol"])
        for protocol, count in gauges.connections.items():
            connections.add_metric([protocol], count)
        yield connections
        for name, value, documentation in (
            ("sockets", gauges.sockets, "WebSockets, with those that have opened no document."),
            ("documents", gauges.documents, "Documents in memory."),
            ("document_bytes", gauges.document_bytes, "Memory that the documents take, about."),
            ("backpressured_sockets", gauges.backpressured, "Sockets under backpressure."),
            ("unsaved_updates", gauges.unsaved_updates, "Updates that are not committed yet."),
            ("unsaved_bytes", gauges.unsaved_bytes, "Memory that these take."),
            ("lookups_waiting", gauges.lookups_waiting, "Handshakes and tokens that wait for a lookup."),
            ("receiving_bytes", gauges.receiving_bytes, "Bytes of large messages that were received and not handled."),
        ):
            yield GaugeMetricFamily(PREFIX + name, documentation, value=value)
        problems = GaugeMetricFamily(f"{PREFIX}problem", "Whether a part has a problem: see /health.", labels=["part"])
        for part, has_problem in gauges.problems.items():
            problems.add_metric([part], int(has_problem))
        yield problems


def _histogram(name: str, documentation: str, histogram: Histogram) -> Metric:
    family = HistogramMetricFamily(PREFIX + name, documentation)
    buckets = []
    cumulative = 0
    for bound, count in zip([*map(str, histogram.bounds), "+Inf"], histogram.counts, strict=True):
        cumulative += count
        buckets.append((bound, cumulative))
    family.add_metric([], buckets, histogram.total)
    return family


def exporter(counters: Counters, gauges: Callable[[], Gauges]) -> Callable[[], bytes]:
    """Return a function that returns all metrics in Prometheus's text format: the daemon's, and its process's."""
    registry = CollectorRegistry()
    registry.register(DaemonCollector(counters, gauges))
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    return lambda: generate_latest(registry)


class LatenessMeter(Service):
    """Measures how late the reactor runs a timer: how long everything waits for its turn."""

    def __init__(self, reactor: IReactorTime, lateness: Histogram) -> None:
        self._reactor = reactor
        self._lateness = lateness
        self._due = 0.0
        self._loop = LoopingCall(self._measure)
        self._loop.clock = reactor

    def startService(self) -> None:
        """Begin to measure."""
        Service.startService(self)
        self._due = self._reactor.seconds() + LATENESS_INTERVAL
        self._loop.start(LATENESS_INTERVAL, now=False)

    def stopService(self) -> None:
        """Stop measuring."""
        Service.stopService(self)
        self._loop.stop()

    def _measure(self) -> None:
        now = self._reactor.seconds()
        lateness = max(now - self._due, 0.0)
        self._lateness.observe(lateness)
        # As LoopingCall does: what was missed is left out, and the rhythm kept.
        self._due += LATENESS_INTERVAL * (1 + lateness // LATENESS_INTERVAL)
