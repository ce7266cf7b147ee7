"""Clients that type, draw or move their cursors, at a constant rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from time import perf_counter, sleep

from attrs import evolve, frozen

from benchmarks.generator.generator import Generator
from benchmarks.generator.workload import Kind, Workload
from benchmarks.loads.base import (
    EDITS,
    MB,
    PUBLISHED,
    TABLE,
    US,
    Context,
    Load,
    Result,
    curve_of,
    measures_of,
    problem_of,
)
from benchmarks.recordings import Recording
from benchmarks.scraping import scrape
from benchmarks.servers.base import RunningServer, Server, Testbed
from benchmarks.targets import Target
from benchmarks.wal import wal_position

#: How long the workload runs in other rooms before it is measured, in seconds: Node compiles code that runs often.
WARM_UP = 2.0

#: How long updates may take to be committed after a run, in seconds: PostgreSQL has the lowest priority.
COMMIT_PATIENCE = 10.0

#: The daemon's counters that are recorded, by the names of the measures.
COUNTED: Mapping[str, str] = {"commits": "canvas_collab_commits_total"}


@frozen
class Traffic(Load):
    """A load at a constant rate; for the attributes see :class:`benchmarks.generator.workload.Workload`.

    :ivar recorded: the kind of recording that writers replay, if they do; see ``node/record.mjs``.
    """

    name: str
    title: str
    targets: Sequence[Target]
    rooms: int
    clients: int
    writers: int
    rate: float
    kind: Kind = Kind.TYPING
    seconds: float = 3.0
    group: str = TABLE
    recorded: str = ""
    both_protocols: bool = False
    published: str = ""
    is_noisy = True

    def supports(self, server: Server) -> bool:
        """Whether clients of this kind work with the server: Hocuspocus's provider does not echo.

        The floor would send each echo to everyone, as it does not know that it is one.
        """
        return not (self.kind is Kind.ECHOED_CURSORS and (server.hocuspocus or not server.has_documents))

    def measure(self, context: Context, server: Server) -> Result:
        """Run the workload as a warm-up in some rooms, then in others."""
        recording = self._recording(context.testbed)
        with server.start(context.testbed, 2 * self.rooms, self.clients) as running:
            rooms = running.endpoint.rooms
            workload = Workload(
                evolve(running.endpoint, rooms=rooms[: self.rooms]),
                self.clients,
                self.writers,
                self.rate,
                self.seconds,
                self.kind,
                recording=recording,
            )
            if server.needs_warm_up:
                endpoint = evolve(workload.endpoint, rooms=rooms[self.rooms :])
                with Generator(evolve(workload, endpoint=endpoint, seconds=WARM_UP)) as generator:
                    generator.connect()
                    generator.run()
            with Generator(workload, context.progress) as generator:
                generator.connect()
                return measure_run(context, running, generator)

    def _recording(self, testbed: Testbed) -> Recording | None:
        if not self.recorded:
            return None
        frames = ceil(self.rate * max(self.seconds, WARM_UP))
        return Recording.create(testbed.directory, self.recorded, self.writers, frames)


def measure_run(context: Context, running: RunningServer, generator: Generator) -> Result:
    """Run a generator that has connected, and measure what it takes on the server and its database."""
    database = context.testbed.database if running.database_pid is not None else None
    written = wal_position(database) if database is not None else 0
    counters = scrape(running.health_url) if running.health_url is not None else {}
    running.reset_peak_memory()
    before, database_before, waited = running.cpu, running.database_cpu, running.cpu_wait
    measurement = generator.run()
    cpu = running.cpu - before
    after = _counters_when_committed(running.health_url) if running.health_url is not None else {}
    database_cpu = running.database_cpu - database_before
    measures = measures_of(measurement)
    measures |= {
        "cpu": cpu,
        "database_cpu": database_cpu,
        "server_busy": cpu / measurement.seconds * 100 if measurement.seconds else 0.0,
        "server_waited": (running.cpu_wait - waited) / measurement.seconds * 100 if measurement.seconds else 0.0,
        "memory": running.memory * MB,
        "peak_memory": running.peak_memory * MB,
    }
    if running.health_url is not None:
        measures |= {name: after[sample] - counters[sample] for name, sample in COUNTED.items()}
    if database is not None:
        measures["wal_written"] = wal_position(database) - written
    if measurement.delivered:
        measures["cpu_per_delivery"] = cpu / measurement.delivered * US
    return Result(measures, curve_of(measurement), problem_of(measurement))


def _counters_when_committed(health_url: str) -> Mapping[str, float]:
    """The daemon's counters as soon as everything is committed, or :data:`COMMIT_PATIENCE` is at its end."""
    deadline = perf_counter() + COMMIT_PATIENCE
    while (counters := scrape(health_url))["canvas_collab_unsaved_updates"] and perf_counter() < deadline:
        sleep(0.1)
    return counters


def _cpu(ratio: float, floor: float | None = None) -> Target:
    return Target("cpu_per_delivery", ratio, floor=floor)


_THEIRS = Target("p99", 1)
_ECHOING = ("y-websocket-server",)

#: Where y/hub's figures are from.
_YHUB = (
    "y/hub 0.6.0 publishes for this load (benchmarks/RESULTS.md of yjs/yhub, 2026-08-12: one server process on an "
    "Intel i7-1370P, not pinned, without the CPU of its worker and of Redis; updates of 57 bytes)"
)

TRAFFIC: Sequence[Traffic] = (
    Traffic("many-rooms", "200 rooms, 5 people type 2 updates/s each", [_cpu(0.5, 2.5)], 200, 5, 5, 2),
    Traffic(
        "small-room",
        "one room, 5 people type 100 updates/s each",
        [_cpu(0.5, 3.5), _THEIRS],
        1,
        5,
        5,
        100,
        both_protocols=True,
    ),
    Traffic(
        "busy-room",
        "one room, 100 people type 20 updates/s each",
        [_cpu(0.4), Target("p99", 1 / 20, limit=5, if_busy=True)],
        1,
        100,
        100,
        20,
    ),
    Traffic("audience", "one room of 1,000, 10 of them type 5 updates/s each", [_cpu(0.7), _THEIRS], 1, 1000, 10, 5),
    Traffic(
        "cursors",
        "one room, 100 people move cursors 30 times/s each",
        [_cpu(0.2), Target("p99", limit=8)],
        1,
        100,
        100,
        30,
        Kind.CURSORS,
    ),
    Traffic(
        "echoed-cursors",
        "one room, 50 y-websocket clients move cursors 20 times/s each and echo what they hear",
        [evolve(_cpu(0.3), rivals=_ECHOING), Target("p99", limit=8)],
        1,
        50,
        50,
        20,
        Kind.ECHOED_CURSORS,
    ),
    Traffic(
        "strokes",
        "one room, 10 people draw free-hand at 60 updates/s each",
        [_cpu(0.5), _THEIRS],
        1,
        10,
        10,
        60,
        Kind.RECORDED,
        recorded="strokes",
        both_protocols=True,
    ),
    Traffic(
        "dragging",
        "one room of 20, 5 of them drag a shape at 60 updates/s each",
        [],
        1,
        20,
        5,
        60,
        Kind.RECORDED,
        group=EDITS,
        recorded="dragging",
        both_protocols=True,
    ),
    Traffic(
        "typing",
        "one room of 20, 10 of them type 8 characters/s each into notes",
        [],
        1,
        20,
        10,
        8,
        Kind.RECORDED,
        group=EDITS,
        recorded="typing",
        both_protocols=True,
    ),
    Traffic(
        "pasting",
        "one room of 20, 2 of them paste 500 shapes (187 kB) each second",
        [],
        1,
        20,
        2,
        1,
        Kind.RECORDED,
        group=EDITS,
        recorded="pasting",
        both_protocols=True,
    ),
    Traffic(
        "one-writer",
        "one room of 501, one of them types 25 updates/s",
        [],
        1,
        501,
        1,
        25,
        group=PUBLISHED,
        published=f"{_YHUB}: CPU per delivery 15.8 µs, p50 9.2 ms, p99 28.3 ms.",
    ),
    Traffic(
        "many-writers",
        "one room of 200, all of them type 5 updates/s",
        [],
        1,
        200,
        200,
        5,
        group=PUBLISHED,
        published=f"{_YHUB}: CPU per update 944 µs, which is 4.7 µs per delivery, p50 4.3 ms, p99 10.6 ms.",
    ),
    Traffic(
        "presence",
        "one room of 100, all of them send their presence once a second",
        [],
        1,
        100,
        100,
        1,
        Kind.CURSORS,
        group=PUBLISHED,
        published=f"{_YHUB}: CPU per message 1,203 µs, which is 12.2 µs per delivery.",
    ),
)
