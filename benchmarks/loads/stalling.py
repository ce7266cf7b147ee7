"""One who does not read what is sent, in a room where much is said."""

from __future__ import annotations

from time import sleep

from attrs import evolve

from benchmarks import load as generated
from benchmarks.load import Generator, Report
from benchmarks.loads.base import MB, Bench, Load, Result, Target, curve_of, measures_of, problem_of
from benchmarks.loads.document import open_document
from benchmarks.servers import Server

CLIENTS = 20
RATE = 10
SIZE = 16 * 2**10


class Stalling(Load):
    """Whether the others notice, and what the server keeps for it."""

    name = "stalling"
    title = f"one reader stops reading, in a room where {CLIENTS} people send {RATE} updates/s of 16 KB each"
    is_noisy = True
    targets = (Target("p99_change", limit=20), Target("memory_growth", limit=40))

    def measure(self, bench: Bench, server: Server) -> Result:
        """Do it without and with the one who does not read."""
        seconds = 4.0 if bench.quick else 14.0
        usual, usual_peak = self._run(bench, server, seconds, stalled=False)
        bench.progress(0.5)
        report, peak = self._run(bench, server, seconds, stalled=True)
        measures = measures_of(report)
        measures |= {"peak_memory": peak, "memory_growth": peak - usual_peak}
        if report.latencies:
            without = measures_of(usual)["p99"]
            measures |= {"p99_without": without, "p99_change": (measures["p99"] / without - 1) * 100}
        return Result(measures, curve_of(report), problem_of(report))

    def _run(self, bench: Bench, server: Server, seconds: float, stalled: bool) -> tuple[Report, float]:
        with server.start(bench.workshop, 2, CLIENTS) as running:
            load = generated.Load(running.place, CLIENTS, CLIENTS, RATE, seconds, size=SIZE)
            with Generator(_in_room(load, 1, 2.0)) as generator:
                generator.connect()
                generator.drive()
            reader = open_document(running.place, CLIENTS * 2, 2).client if stalled else None
            with Generator(_in_room(load, 0, seconds)) as generator:
                generator.connect()
                report = generator.drive()
                sleep(0.5)
                peak = running.peak_memory * MB
            if reader is not None:
                reader.close()
            return report, peak


def _in_room(load: generated.Load, room: int, seconds: float) -> generated.Load:
    return evolve(load, place=evolve(load.place, rooms=load.place.rooms[room : room + 1]), seconds=seconds)
