"""Samples of a daemon over time, and whether they are flat."""

from __future__ import annotations

import json
import statistics
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import asdict, frozen
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.processes import memory
from tests.support.daemons import Daemon


@frozen
class Sample:
    """A daemon at one moment.

    :ivar minutes: the time since the start.
    :ivar memory: its proportional set size (PSS) with its children's, in MB.
    :ivar descriptors: open file descriptors.
    :ivar rooms: documents in memory; `connections`: connections to them.
    :ivar queue: updates in the journal's queue.
    """

    minutes: float
    memory: float
    descriptors: int
    rooms: int
    connections: int
    queue: int


@frozen
class Measure:
    """What is shown of the samples.

    :ivar bound: by how much the fitted line may rise over the measured time.
    """

    title: str
    unit: str
    bound: float


MEASURES: Mapping[str, Measure] = {
    "memory": Measure("memory (PSS)", "MB", 5.0),
    "descriptors": Measure("descriptors", "", 10.0),
    "rooms": Measure("rooms", "", 5.0),
    "connections": Measure("connections", "", 10.0),
    "queue": Measure("journal's queue", "updates", 10.0),
}


def metrics(daemon: Daemon) -> dict[str, float]:
    """Return the daemon's metrics; those with labels are summed, and may be missing while there is nothing to count."""
    with urllib.request.urlopen(f"{daemon.health_url}/metrics", timeout=30) as response:
        text = response.read().decode()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


def take_sample(daemon: Daemon, minutes: float) -> Sample:
    """Measure a daemon now."""
    found = metrics(daemon)
    return Sample(
        round(minutes, 3),
        round(memory(daemon.pid) / 2**20, 2),
        sum(1 for _ in Path(f"/proc/{daemon.pid}/fd").iterdir()),
        *(int(found.get(f"canvas_collab_{name}", 0)) for name in ("documents", "connections", "unsaved_updates")),
    )


@frozen
class Trend:
    """A line fitted to the samples after the warm-up.

    :ivar mean: the mean of the samples; `least` and `most`: the extremes.
    :ivar rise: by how much the line rises from the first of these samples to the last.
    """

    mean: float
    least: float
    most: float
    rise: float

    @classmethod
    def of(cls, samples: Sequence[Sample], name: str) -> Trend:
        """Fit the line to one of the measures."""
        times = [sample.minutes for sample in samples]
        values = [float(getattr(sample, name)) for sample in samples]
        slope = statistics.linear_regression(times, values).slope
        return cls(statistics.fmean(values), min(values), max(values), slope * (times[-1] - times[0]))


def warmed_up(samples: Sequence[Sample], warm_up: float) -> list[Sample]:
    """Return the samples from so many minutes on."""
    return [sample for sample in samples if sample.minutes >= warm_up]


def table(samples: Sequence[Sample]) -> tuple[list[str], bool]:
    """Return a Markdown table of the trends, and whether all are within their bounds."""
    lines = ["| | mean | least | most | rise | at most |", "|---|---:|---:|---:|---:|---:|"]
    is_flat = True
    for name, measure in MEASURES.items():
        trend = Trend.of(samples, name)
        is_flat &= trend.rise <= measure.bound
        title = f"{measure.title}, {measure.unit}" if measure.unit else measure.title
        lines.append(
            f"| {title} | {trend.mean:.1f} | {trend.least:.1f} | {trend.most:.1f} | {trend.rise:+.1f} "
            f"| {measure.bound:+.0f} |"
        )
    return lines, is_flat


def write(samples: Sequence[Sample], file: Path) -> None:
    """Write the samples as JSON."""
    file.write_text(json.dumps([asdict(sample) for sample in samples], indent=1) + "\n")
