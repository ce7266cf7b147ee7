"""How many updates a second a room can take."""

from __future__ import annotations

from time import perf_counter, sleep

from attrs import evolve

from benchmarks import load as generated
from benchmarks.load import Generator
from benchmarks.loads.base import Bench, Load, Result, Target, curve_of, measures_of
from benchmarks.servers import Running, Server

CLIENTS = 50

#: It is still good when so many milliseconds are the p99.
GOOD = 100.0

#: The first try, and how many of them there are at most, in updates a second.
FIRST = 1000
TRIES = 12

#: Between the highest that was good and the lowest that was not it is halved so many times.
HALVINGS = 3

#: So many half seconds are waited at most until a server has recovered from a try.
IDLE_CHECKS = 40


class Capacity(Load):
    """The highest rate at which latencies stay good: by doubling, then by halving what is between."""

    name = "capacity"
    title = f"highest updates/s in a room of {CLIENTS} with a p99 of at most {GOOD:g} ms"
    targets = (Target("updates_per_second", 4, more=True),)

    def measure(self, bench: Bench, server: Server) -> Result:
        """Search."""
        good, bad, best, worst = 0.0, 0.0, Result({}), Result({})
        with server.start(bench.workshop, TRIES, CLIENTS) as running:
            rate, halvings = float(FIRST), 0
            for attempt in range(TRIES):
                result = self._try(running, attempt, rate, bench.quick)
                bench.progress((attempt + 1) / TRIES)
                if result.measures.get("p99", GOOD + 1) <= GOOD and not result.measures.get("missing"):
                    good, best = rate, result
                else:
                    bad, worst = rate, result
                if good and bad:
                    halvings += 1
                    if halvings > (1 if bench.quick else HALVINGS):
                        break
                rate = (good + bad) / 2 if good and bad else (rate * 2 if good else rate / 2)
        measures = {**best.measures, "updates_per_second": good}
        # How busy both were when it was too much tells for which of them it was.
        for name in ("generator_late", "generator_busy", "server_busy"):
            if name in worst.measures:
                measures[name] = worst.measures[name]
        return Result(measures, best.curve, "" if good else "no rate was good")

    def _try(self, running: Running, attempt: int, rate: float, quick: bool) -> Result:
        place = evolve(running.place, rooms=running.place.rooms[attempt : attempt + 1])
        load = generated.Load(place, CLIENTS, CLIENTS, rate / CLIENTS, 2.0 if quick else 3.0, patience=8.0)
        try:
            with Generator(load) as generator:
                generator.connect()
                before, began = running.cpu, perf_counter()
                busy: list[float] = []
                report = generator.drive(lambda: busy.append((running.cpu - before) / (perf_counter() - began)))
                measures = measures_of(report)
                measures["server_busy"] = busy[0] * 100
        except ConnectionError as error:
            return Result({}, problem=str(error))
        finally:
            _wait_until_idle(running)
        return Result(measures, curve_of(report))


def _wait_until_idle(running: Running) -> None:
    """Let a server come to the end of what it was too slow for."""
    for _ in range(IDLE_CHECKS):
        before = running.cpu
        sleep(0.5)
        if running.cpu - before < 0.05:
            break
