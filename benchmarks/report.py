"""Results as JSON, and as Markdown tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import asdict, define, field, frozen

from benchmarks.loads import LOADS
from benchmarks.loads.base import Result, median_of
from benchmarks.predictions import MODEL, prediction_lines
from benchmarks.targets import RIVALS, TIMES, Target

OURS = "canvas-collab"

#: The content of empty cells.
NOTHING = "\N{EN DASH}"

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
    "read": Measure("reading the row with psycopg2, ms", 1),
    "times_read": Measure("from the store, times reading the row", 1),
    "ready_after": Measure("ready after, s", 2),
    "overhead": Measure("CPU of metrics, %", 1),
    "least_overhead": Measure("least of the pairs, %", 1),
    "greatest_overhead": Measure("greatest of the pairs, %", 1),
    "scrape": Measure("CPU of a scrape, ms", 1),
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
    "resident_memory": Measure("memory (RSS), MB"),
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
    :ivar runs: the results of each run, by load, then by server.
    """

    about: dict[str, object]
    versions: dict[str, str]
    runs: dict[str, dict[str, list[Result]]] = field(factory=dict)

    @property
    def loads(self) -> dict[str, dict[str, Result]]:
        """The medians of the runs, by load, then by server."""
        return {
            load: {server: median_of(results) for server, results in by_server.items()}
            for load, by_server in self.runs.items()
        }

    def add(self, load: str, server: str, result: Result) -> None:
        """Add the result of a run."""
        self.runs.setdefault(load, {}).setdefault(server, []).append(result)

    def resume(self, directory: Path) -> None:
        """Take over the runs of an earlier command from the directory, except those that failed.

        :raises ValueError: if they are of other versions.
        """
        file = directory / "results.json"
        if not file.exists():
            return
        earlier = json.loads(file.read_text())
        for server, version in earlier["versions"].items():
            if self.versions.setdefault(server, version) != version:
                raise ValueError(f"{file} has results of {server} {version}")
        if earlier["about"].get("build") != self.about.get("build"):
            raise ValueError(f"{file} has results of another build: {earlier['about'].get('build')}")
        for load, by_server in earlier["runs"].items():
            for server, results in by_server.items():
                for result in results:
                    if load in LOADS and not result["problem"]:
                        self.add(load, server, Result(result["measures"], result["curve"]))

    def write(self, directory: Path) -> None:
        """Write ``results.json`` and ``results.md``."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "results.json").write_text(json.dumps(asdict(self), indent=1) + "\n")
        (directory / "results.md").write_text("\n".join(self.lines()) + "\n")

    def lines(self) -> Iterator[str]:
        """The tables, in Markdown."""
        loads = self.loads
        yield "# Results"
        yield ""
        for name, value in self.about.items():
            yield f"- {name}: {value}"
        yield "- servers: " + ", ".join(f"{name} {version}" for name, version in self.versions.items())
        yield ""
        yield f"## What {OURS} aims at"
        yield ""
        yield from target_lines(loads)
        for load, results in loads.items():
            yield ""
            yield from _load_lines(load, results)
        yield ""
        yield from prediction_lines(loads)
        yield from _NOTES


def target_lines(loads: Mapping[str, Mapping[str, Result]]) -> Iterator[str]:
    """The table of the targets, in Markdown."""
    yield f"| load | measure | measured | better Node server | {TIMES} | floor | {TIMES} floor | target | |"
    yield "|---|---|---:|---:|---:|---:|---:|---|---|"
    for name in LOADS:
        for target in LOADS[name].targets if name in loads else ():
            yield _target_line(name, target, loads[name])


def _target_line(load: str, target: Target, results: Mapping[str, Result]) -> str:
    measure = MEASURES[target.measure]
    ours = results.get(OURS)
    value = None if ours is None else ours.measures.get(target.measure)
    judgement = target.judge(
        None if ours is None else ours.measures,
        {server: result.measures for server, result in results.items() if server != OURS},
    )
    if judgement.met is None or ours is None:
        outcome = NOTHING
    else:
        outcome = "met" if judgement.met and not ours.problem else "**missed**"
        failed = [rival for rival in target.rivals if rival in results and results[rival].problem]
        if target.ratio is not None and failed:
            outcome += f", {' and '.join(failed)} failed"
        if any(_disturbances(results[server]) for server in (OURS, *target.rivals) if server in results):
            outcome += ", disturbed"

    def show(number: float | None) -> str:
        return NOTHING if number is None else measure.show(number)

    def ratio(number: float | None) -> str:
        return NOTHING if value is None or not number else f"{value / number:.2f} {TIMES}"

    best = judgement.best if target.ratio is not None else None
    floor = judgement.floor if target.measure == "cpu_per_delivery" else None
    cells = [load, measure.heading, show(value), show(best), ratio(best), show(floor), ratio(floor)]
    return "| " + " | ".join([*cells, target.aim, outcome]) + " |"


def _load_lines(load: str, results: Mapping[str, Result]) -> Iterator[str]:
    yield f"## {load}"
    yield ""
    title = LOADS[load].title
    yield f"{title[0].upper()}{title[1:]}."
    yield ""
    present = [name for name in MEASURES if any(name in result.measures for result in results.values())]
    if present:
        yield "| | " + " | ".join(MEASURES[name].heading for name in present) + " |"
        yield "|---|" + "---:|" * len(present)
    for server, result in results.items() if present else ():
        cells = [MEASURES[name].show(result.measures[name]) if name in result.measures else NOTHING for name in present]
        yield f"| {server} | " + " | ".join(cells) + " |"
    if load == MODEL:
        yield "The constants are below."
    remarks = [
        f"- {server}: {remark}"
        for server, result in results.items()
        for remark in (*([result.problem] if result.problem else []), *_disturbances(result))
    ]
    if LOADS[load].published:
        remarks.append(f"- {LOADS[load].published}")
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
    f"The better Node server is that of {' and '.join(RIVALS)}. Hocuspocus providers do not echo cursors, so there",
    "it is the latter.",
    "",
    "**Limits of the generator.** A generator that is late, or busy all the time, measures itself: *generator late*,",
    "by how much it sent updates later than scheduled, should be far below the latencies in the same row. It reads",
    "at least as often as it sends, so times of arrival are not later than that either. A server or generator that",
    "waited for its core shared it with another process, and the latencies are too high: such results are marked as",
    "disturbed, and should be measured again. For `capacity`, the columns *busy* and *late* are of the lowest rate",
    "that was too high.",
)
