"""One client stops reading in a room with much traffic."""

from __future__ import annotations

from time import sleep

from attrs import evolve

from benchmarks.generator.generator import Generator
from benchmarks.generator.measurement import Measurement
from benchmarks.generator.workload import Workload
from benchmarks.loads.base import MB, Context, Load, Result, curve_of, measures_of, problem_of
from benchmarks.loads.document import open_document
from benchmarks.servers.base import Server
from benchmarks.targets import Target

CLIENTS = 20
RATE = 10
SIZE = 16 * 2**10


class Stalling(Load):
    """The latency of the other clients, and the memory that the server takes for the one that does not read."""

    name = "stalling"
    title = f"one reader stops reading, in a room where {CLIENTS} people send {RATE} updates/s of 16 KB each"
    is_noisy = True
    targets = (Target("p99_change", limit=20), Target("memory_growth", limit=40))

    def measure(self, context: Context, server: Server) -> Result:
        """Run the workload without and with a client that does not read, on a new server each time."""
        seconds = 4.0 if context.quick else 14.0
        usual, usual_peak = self._run(context, server, seconds, stalled=False)
        context.progress(0.5)
        measurement, peak = self._run(context, server, seconds, stalled=True)
        measures = measures_of(measurement)
        measures |= {"peak_memory": peak, "memory_growth": peak - usual_peak}
        if measurement.latencies:
            without = measures_of(usual)["p99"]
            measures |= {"p99_without": without, "p99_change": (measures["p99"] / without - 1) * 100}
        return Result(measures, curve_of(measurement), problem_of(measurement))

    def _run(self, context: Context, server: Server, seconds: float, stalled: bool) -> tuple[Measurement, float]:
        with server.start(context.testbed, 2, CLIENTS) as running:
            workload = Workload(running.endpoint, CLIENTS, CLIENTS, RATE, seconds, size=SIZE)
            with Generator(_in_room(workload, 1, 2.0)) as generator:
                generator.connect()
                generator.run()
            reader = open_document(running.endpoint, CLIENTS * 2, 2).client if stalled else None
            with Generator(_in_room(workload, 0, seconds)) as generator:
                generator.connect()
                measurement = generator.run()
                sleep(0.5)
                peak = running.peak_memory * MB
            if reader is not None:
                reader.close()
            return measurement, peak


def _in_room(workload: Workload, room: int, seconds: float) -> Workload:
    endpoint = evolve(workload.endpoint, rooms=workload.endpoint.rooms[room : room + 1])
    return evolve(workload, endpoint=endpoint, seconds=seconds)
