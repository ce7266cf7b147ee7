"""What loads have in common: what they are given, what they return, what is aimed at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from statistics import median

from attrs import field, frozen

from benchmarks.load import Report, percentile
from benchmarks.servers import LargeDocument, Server, Workshop

MS = 1e3
US = 1e6
MB = 1 / 2**20

#: The peers that count where something is aimed at: the better of them.
RIVALS = ("hocuspocus-4", "y-websocket-server")

#: The shares of all deliveries for which results tell within which time they arrived.
CURVE = (0.01, *(number / 20 for number in range(1, 19)), 0.95, 0.98, 0.99, 0.995, 0.999, 1.0)


@frozen
class Bench:
    """What a load is given.

    :ivar quick: whether everything should be short.
    :ivar progress: is told how much of the load is done, between 0 and 1.
    """

    workshop: Workshop
    quick: bool
    progress: Callable[[float], object]

    def document(self) -> LargeDocument:
        """The large document; a tenth of it where everything should be short."""
        return LargeDocument.draw(self.workshop.directory, 6_000 if self.quick else 60_000)


@frozen
class Target:
    """What is aimed at: a measure of canvas-collab's, at most (or at least) some.

    :ivar ratio: that times the better of the rivals' measures; without it, `limit` is meant as it is.
    :ivar more: whether more is better.
    """

    measure: str
    ratio: float | None = None
    limit: float | None = None
    more: bool = False
    rivals: Sequence[str] = RIVALS

    def bound(self, rivals: Sequence[float]) -> float | None:
        """What the measure is held to; None if that depends on rivals, and there are none."""
        if self.ratio is None:
            return self.limit
        if not rivals:
            return None
        return self.ratio * (max(rivals) if self.more else min(rivals))

    def met(self, value: float, bound: float) -> bool:
        """Whether a measure is as good."""
        return value >= bound if self.more else value <= bound


@frozen
class Result:
    """What came of one load at one server.

    :ivar measures: what was measured, by the names in :mod:`benchmarks.report`.
    :ivar curve: of latencies, the milliseconds within which the shares of :data:`CURVE` arrived.
    :ivar problem: what went wrong, or the empty string.
    """

    measures: Mapping[str, float]
    curve: Sequence[float] = ()
    problem: str = field(default="")


def median_of(results: Sequence[Result]) -> Result:
    """Of several measurements of the same the median of each measure, and the curve that lies in the middle."""
    measures = {
        name: median(result.measures[name] for result in results if name in result.measures)
        for name in dict.fromkeys(name for result in results for name in result.measures)
    }
    curves = sorted((result.curve for result in results if result.curve), key=lambda curve: curve[CURVE.index(0.99)])
    problem = "; ".join(dict.fromkeys(result.problem for result in results if result.problem))
    return Result(measures, curves[len(curves) // 2] if curves else (), problem)


class Load(ABC):
    """One load."""

    #: What it is called on the command line and in results.
    name: str
    #: What it is.
    title: str
    targets: Sequence[Target] = ()
    #: Whether what else happens on the machine changes the measures so much that one measurement says little.
    is_noisy = False

    def suits(self, server: Server) -> bool:
        """Whether it can be put on this server."""
        return True

    @abstractmethod
    def measure(self, bench: Bench, server: Server) -> Result:
        """Start a server, put the load on it, and say what came of it."""


def measures_of(report: Report) -> dict[str, float]:
    """What a report says of latencies, messages and the generator."""
    measures: dict[str, float] = {
        "sent": report.sent,
        "delivered": report.delivered,
        "missing": report.missing,
        "misplaced": report.misplaced,
        "frames": report.frames,
        "bytes": report.bytes,
        "seconds": report.seconds,
        "generator_late": percentile(report.lateness, 0.99) * MS,
        "generator_busy": report.busy * 100,
        "generator_waited": report.waited * 100,
    }
    if report.latencies:
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            measures[name] = percentile(report.latencies, share) * MS
    return measures


def curve_of(report: Report) -> list[float]:
    """The latencies at the shares of :data:`CURVE`, in milliseconds."""
    return [percentile(report.latencies, share) * MS for share in CURVE] if report.latencies else []


def problem_of(report: Report) -> str:
    """What is wrong with a report, if anything."""
    if report.missing:
        return f"{report.missing} of {report.missing + report.delivered} deliveries are missing"
    return f"{report.misplaced} deliveries out of order" if report.misplaced else ""
