"""What all loads have in common: their interface, their results, and the targets for these."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from statistics import median

from attrs import field, frozen

from benchmarks.generator.measurement import Measurement, percentile
from benchmarks.servers.base import Server, Testbed
from benchmarks.servers.large_document import LargeDocument
from benchmarks.targets import Target

#: Factors from seconds to milliseconds and microseconds, and from bytes to MB.
MS = 1e3
US = 1e6
MB = 1 / 2**20

#: The load belongs to the table of targets; to the realistic edits; to those that other projects publish figures of; or
#: to none of these.
TABLE, EDITS, PUBLISHED, MORE = GROUPS = ("table", "edits", "published", "more")

#: The shares of all deliveries at which latency curves are sampled.
CURVE = (0.01, *(number / 20 for number in range(1, 19)), 0.95, 0.98, 0.99, 0.995, 0.999, 1.0)


@frozen
class Context:
    """What a load is measured with.

    :ivar quick: whether the load should be shorter and smaller than usual.
    :ivar progress: a callback for the share of the load that is done, from 0 to 1.
    """

    testbed: Testbed
    quick: bool
    progress: Callable[[float], object]

    def large_document(self, shapes: int = 60_000) -> LargeDocument:
        """A document of so many shapes, or a tenth of that for quick runs."""
        return LargeDocument.create(self.testbed.directory, shapes // 10 if self.quick else shapes)


@frozen
class Result:
    """What one load measured on one server.

    :ivar measures: by the names in :data:`benchmarks.report.MEASURES`.
    :ivar curve: the latencies in milliseconds at the shares of :data:`CURVE`, or nothing.
    :ivar problem: what went wrong, or the empty string.
    """

    measures: Mapping[str, float]
    curve: Sequence[float] = ()
    problem: str = field(default="")


def median_of(results: Sequence[Result]) -> Result:
    """Combine repeated results: the median of each measure, the curve with the median p99, and all problems."""
    measures = {
        name: median(result.measures[name] for result in results if name in result.measures)
        for name in dict.fromkeys(name for result in results for name in result.measures)
    }
    curves = sorted((result.curve for result in results if result.curve), key=lambda curve: curve[CURVE.index(0.99)])
    problem = "; ".join(dict.fromkeys(result.problem for result in results if result.problem))
    return Result(measures, curves[len(curves) // 2] if curves else (), problem)


class Load(ABC):
    """One load."""

    #: Its name on the command line and in results.
    name: str
    #: A description, to follow "Loads:" or to start a sentence.
    title: str
    targets: Sequence[Target] = ()
    #: Which of :data:`GROUPS` it belongs to.
    group = MORE
    #: Whether this server is measured with both protocols.
    both_protocols = False
    #: What another project has published for the same load: a sentence, or nothing.
    published = ""
    #: Whether results vary so much from run to run that the load is repeated.
    is_noisy = False
    #: How often it is measured at most, however often others are.
    most_runs = 99

    def supports(self, server: Server) -> bool:
        """Whether the load can be measured on a server."""
        return True

    @abstractmethod
    def measure(self, context: Context, server: Server) -> Result:
        """Start a server, put the load on it, and return what was measured.

        :raises OSError, RuntimeError, AssertionError: if the server fails.
        """


def measures_of(measurement: Measurement) -> dict[str, float]:
    """The measures of deliveries, latencies and the generator itself."""
    measures: dict[str, float] = {
        "sent": measurement.sent,
        "delivered": measurement.delivered,
        "missing": measurement.missing,
        "out_of_order": measurement.out_of_order,
        "frames": measurement.frames,
        "bytes": measurement.bytes,
        "seconds": measurement.seconds,
        "generator_late": percentile(measurement.lateness, 0.99) * MS,
        "generator_busy": measurement.busy * 100,
        "generator_waited": measurement.waited * 100,
    }
    if measurement.latencies:
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            measures[name] = percentile(measurement.latencies, share) * MS
    return measures


def curve_of(measurement: Measurement) -> list[float]:
    """The latencies at the shares of :data:`CURVE`, in milliseconds."""
    return [percentile(measurement.latencies, share) * MS for share in CURVE] if measurement.latencies else []


def problem_of(measurement: Measurement) -> str:
    """What is wrong with a measurement, or the empty string."""
    if measurement.missing:
        return f"{measurement.missing} of {measurement.missing + measurement.delivered} deliveries are missing"
    return f"{measurement.out_of_order} deliveries out of order" if measurement.out_of_order else ""
