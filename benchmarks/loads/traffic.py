"""Clients that type, or move their cursors, at a constant rate."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve, frozen

from benchmarks.generator.generator import Generator
from benchmarks.generator.workload import Kind, Workload
from benchmarks.loads.base import MB, US, Context, Load, Result, Target, curve_of, measures_of, problem_of
from benchmarks.servers.base import Server

#: How long the workload runs in other rooms before it is measured, in seconds: Node compiles code that runs often.
WARM_UP = 2.0


@frozen
class Traffic(Load):
    """A load at a constant rate; for the attributes see :class:`benchmarks.generator.workload.Workload`."""

    name: str
    title: str
    targets: Sequence[Target]
    rooms: int
    clients: int
    writers: int
    rate: float
    kind: Kind = Kind.TYPING
    seconds: float = 8.0
    is_noisy = True

    def supports(self, server: Server) -> bool:
        """Whether clients of this kind use the server's protocol: Hocuspocus's provider does not echo."""
        return not (self.kind is Kind.ECHOED_CURSORS and server.hocuspocus)

    def measure(self, context: Context, server: Server) -> Result:
        """Run the workload as a warm-up in some rooms, then in others."""
        with server.start(context.testbed, 2 * self.rooms, self.clients) as running:
            rooms = running.endpoint.rooms
            seconds = 3.0 if context.quick else self.seconds
            workload = Workload(
                evolve(running.endpoint, rooms=rooms[: self.rooms]),
                self.clients,
                self.writers,
                self.rate,
                seconds,
                self.kind,
            )
            warm_up = evolve(workload, endpoint=evolve(workload.endpoint, rooms=rooms[self.rooms :]), seconds=WARM_UP)
            with Generator(warm_up) as generator:
                generator.connect()
                generator.run()
            with Generator(workload, context.progress) as generator:
                generator.connect()
                running.reset_peak_memory()
                before, database, waited = running.cpu, running.database_cpu, running.cpu_wait
                measurement = generator.run()
                cpu, database_cpu = running.cpu - before, running.database_cpu - database
                measures = measures_of(measurement)
                measures |= {
                    "cpu": cpu,
                    "database_cpu": database_cpu,
                    "server_waited": (running.cpu_wait - waited) / max(measurement.seconds, seconds) * 100,
                    "memory": running.memory * MB,
                    "peak_memory": running.peak_memory * MB,
                }
                if measurement.delivered:
                    measures["cpu_per_delivery"] = cpu / measurement.delivered * US
            return Result(measures, curve_of(measurement), problem_of(measurement))


def _targets(p99: float | None, cpu: float, *rivals: str) -> list[Target]:
    targets = [Target("cpu_per_delivery", cpu)]
    if p99 is not None:
        targets.append(Target("p99", p99))
    return [evolve(target, rivals=rivals) for target in targets] if rivals else targets


TRAFFIC: Sequence[Traffic] = (
    Traffic("small-room", "one room, 5 people type 100 updates/s each", _targets(1, 0.7), 1, 5, 5, 100),
    Traffic("busy-room", "one room, 100 people type 20 updates/s each", _targets(1 / 20, 0.6), 1, 100, 100, 20),
    Traffic("audience", "one room of 1,000, 10 of them type 5 updates/s each", _targets(1, 0.8), 1, 1000, 10, 5),
    Traffic("many-rooms", "200 rooms, 5 people type 2 updates/s each", _targets(None, 0.8), 200, 5, 5, 2),
    Traffic(
        "cursors",
        "one room, 100 people move cursors 30 times/s each",
        _targets(1 / 10, 0.5),
        1,
        100,
        100,
        30,
        Kind.CURSORS,
    ),
    Traffic(
        "echoed-cursors",
        "one room, 50 y-websocket clients move cursors 20 times/s each and echo what they hear",
        _targets(1 / 10, 0.4, "y-websocket-server"),
        1,
        50,
        50,
        20,
        Kind.ECHOED_CURSORS,
    ),
)
