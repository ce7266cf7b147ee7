"""Results as JSON, and as Markdown tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import asdict, define, field, frozen

from benchmarks.loads import LOADS
from benchmarks.loads.base import RIVALS, Result, Target

OURS = "canvas-collab"

#: The sign after ratios, and the content of empty cells.
TIMES, NOTHING = "\N{MULTIPLICATION SIGN}", "\N{EN DASH}"

#: Results are marked as disturbed if the server or the generator waited for its core for more than so many percent of
#: the time.
DISTURBED = 10.0


@frozen
class Measure:
    """How a measure is shown: the heading of its column, with the unit, and the number of decimals."""

    heading: str
    decimals: int = 0

    def show(self, value: float) -> str:
        """The value as text; values below 10 with one more decimal, unless there are none."""
        decimals = self.decimals + (1 if self.decimals and abs(value) < 10 else 0)
        return f"{value:,.{decimals}f}"


#: All measures, in the order of the columns.
MEASURES: Mapping[str, Measure] = {
    "updates_per_second": Measure("updates/s"),
    "cold": Measure("from the store, ms"),
    "warm": Measure("from memory, ms"),
    "cpu_per_return": Measure("server CPU, ms", 1),
    "wal": Measure("written to the database's log, kB a minute", 0),
    "return": Measure("until it is there, ms", 1),
    "p50": Measure("p50, ms", 1),
    "p95": Measure("p95, ms", 1),
    "p99": Measure("p99, ms", 1),
    "p99_without": Measure("p99 without, ms", 1),
    "p99_change": Measure("change of p99, %"),
    "cpu_per_delivery": Measure("CPU per delivery, µs", 1),
    "cpu": Measure("server CPU, s", 1),
    "database_cpu": Measure("database CPU, s", 1),
    "handshake": Measure("handshake p99, ms", 1),
    "handshake_at_once": Measure("handshake p99 at once, ms"),
    "delivered": Measure("deliveries"),
    "frames": Measure("frames"),
    "bytes": Measure("bytes"),
    "memory": Measure("memory (PSS), MB"),
    "peak_memory": Measure("peak (RSS), MB"),
    "memory_growth": Measure("memory for it, MB"),
    "memory_per_connection": Measure("memory per connection, kB", 1),
    "seconds": Measure("all done after, s", 1),
    "server_waited": Measure("server waited for its core, %", 1),
    "server_busy": Measure("server busy, %"),
    "generator_late": Measure("generator late (p99), ms", 1),
    "generator_busy": Measure("generator busy, %"),
    "generator_waited": Measure("generator waited, %", 1),
}


@define
class Results:
    """All results.

    :ivar about: facts about the machine and the run, by name.
    :ivar versions: the versions of the servers, by name.
    :ivar loads: the results by load, then by server.
    """

    about: dict[str, object]
    versions: dict[str, str]
    loads: dict[str, dict[str, Result]] = field(factory=dict)

    def write(self, directory: Path) -> None:
        """Write ``results.json`` and ``results.md``."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "results.json").write_text(json.dumps(asdict(self), indent=1) + "\n")
        (directory / "results.md").write_text("\n".join(self.lines()) + "\n")

    def lines(self) -> Iterator[str]:
        """The tables, in Markdown."""
        yield "# Results"
        yield ""
        for name, value in self.about.items():
            yield f"- {name}: {value}"
        yield "- servers: " + ", ".join(f"{name} {version}" for name, version in self.versions.items())
        yield ""
        yield from self._target_lines()
        for load, results in self.loads.items():
            yield ""
            yield from _load_lines(load, results)
        yield ""
        yield from _NOTES

    def _target_lines(self) -> Iterator[str]:
        yield f"## What {OURS} aims at"
        yield ""
        yield "| load | measure | measured | best rival | ratio | aim | |"
        yield "|---|---|---:|---:|---:|---:|---|"
        for name, results in self.loads.items():
            for target in LOADS[name].targets:
                yield _target_line(name, target, results)


def _target_line(load: str, target: Target, results: Mapping[str, Result]) -> str:
    measure = MEASURES[target.measure]
    ours = results[OURS].measures.get(target.measure) if OURS in results else None
    rivals = [
        results[rival].measures[target.measure]
        for rival in target.rivals
        if rival in results and target.measure in results[rival].measures
    ]
    best = (max(rivals) if target.more else min(rivals)) if rivals else None
    bound = target.bound(rivals)
    sign = "≥" if target.more else "≤"
    aim = f"{sign} {target.ratio:g} {TIMES}" if target.ratio is not None else f"{sign} {target.limit:g}"
    if ours is None or bound is None:
        outcome = NOTHING
    else:
        good = target.met(ours, bound) and not results[OURS].problem
        outcome = "met" if good else "**missed**"
        failed = [rival for rival in target.rivals if rival in results and results[rival].problem]
        if target.ratio is not None and failed:
            outcome += f", {' and '.join(failed)} failed"
        if any(_disturbances(results[server]) for server in (OURS, *target.rivals) if server in results):
            outcome += ", disturbed"
    cells = [
        load,
        measure.heading,
        NOTHING if ours is None else measure.show(ours),
        NOTHING if best is None else measure.show(best),
        NOTHING if ours is None or not best else f"{ours / best:.2f} {TIMES}",
        aim,
        outcome,
    ]
    return "| " + " | ".join(cells) + " |"


def _load_lines(load: str, results: Mapping[str, Result]) -> Iterator[str]:
    yield f"## {load}"
    yield ""
    title = LOADS[load].title
    yield f"{title[0].upper()}{title[1:]}."
    yield ""
    present = [name for name in MEASURES if any(name in result.measures for result in results.values())]
    yield "| | " + " | ".join(MEASURES[name].heading for name in present) + " |"
    yield "|---|" + "---:|" * len(present)
    for server, result in results.items():
        cells = [MEASURES[name].show(result.measures[name]) if name in result.measures else NOTHING for name in present]
        yield f"| {server} | " + " | ".join(cells) + " |"
    remarks = [
        f"- {server}: {remark}"
        for server, result in results.items()
        for remark in (*([result.problem] if result.problem else []), *_disturbances(result))
    ]
    if remarks:
        yield ""
        yield from remarks


def _disturbances(result: Result) -> list[str]:
    """Remarks on the processes that had to wait for their cores."""
    waited = {"the server": "server_waited", "the generator": "generator_waited"}
    return [
        f"disturbed: {who} waited for its core for {result.measures[name]:.0f} % of the time"
        for who, name in waited.items()
        if result.measures.get(name, 0.0) > DISTURBED
    ]


_NOTES = (
    f"The best rival is the better of {' and '.join(RIVALS)}. Hocuspocus providers do not echo cursors, so there",
    "it is the latter.",
    "",
    "**Limits of the generator.** A generator that is late, or busy all the time, measures itself: *generator late*,",
    "by how much it sent updates later than scheduled, should be far below the latencies in the same row. It reads",
    "at least as often as it sends, so times of arrival are not later than that either. A server or generator that",
    "waited for its core shared it with another process, and the latencies are too high: such results are marked as",
    "disturbed, and should be measured again. For `capacity`, the columns *busy* and *late* are of the lowest rate",
    "that was too high.",
)
