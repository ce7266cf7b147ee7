"""How many updates per second a room sustains."""

from __future__ import annotations

from time import perf_counter, sleep

from attrs import evolve

from benchmarks.generator.generator import Generator
from benchmarks.generator.workload import Workload
from benchmarks.loads.base import TABLE, Context, Load, Result, curve_of, measures_of
from benchmarks.servers.base import RunningServer, Server
from benchmarks.targets import Target

CLIENTS = 50

#: The highest p99 latency at which a rate counts as sustained, in milliseconds.
GOOD = 100.0

#: The rate of the first try in updates per second, and the highest number of tries.
FIRST = 8000
TRIES = 9

#: How often the interval between the highest sustained rate and the lowest other one is halved.
HALVINGS = 2

#: After each try, the server may take so many half seconds to become idle.
IDLE_CHECKS = 40


class Capacity(Load):
    """The highest rate at which the p99 latency stays low, found by doubling and then by bisection."""

    name = "capacity"
    title = f"highest updates/s in a room of {CLIENTS} with a p99 of at most {GOOD:g} ms"
    targets = (Target("updates_per_second", 4, more=True),)
    group = TABLE
    is_noisy = True
    #: It takes much longer than the others.
    most_runs = 3

    def supports(self, server: Server) -> bool:
        """Whether it is a server: the floor's capacity is the generator's."""
        return server.has_documents

    def measure(self, context: Context, server: Server) -> Result:
        """Search for the highest rate."""
        good, bad, best, worst = 0.0, 0.0, Result({}), Result({})
        with server.start(context.testbed, TRIES, CLIENTS) as running:
            rate, halvings = float(FIRST), 0
            for attempt in range(TRIES):
                result = self._try(running, attempt, rate, context.quick)
                context.progress((attempt + 1) / TRIES)
                if result.measures.get("p99", GOOD + 1) <= GOOD and not result.measures.get("missing"):
                    good, best = rate, result
                else:
                    bad, worst = rate, result
                if good and bad:
                    halvings += 1
                    if halvings > (1 if context.quick else HALVINGS):
                        break
                rate = (good + bad) / 2 if good and bad else (rate * 2 if good else rate / 2)
        measures = {**best.measures, "updates_per_second": good}
        # At the lowest rate that was too high, these show whether server or generator was the limit.
        for name in ("generator_late", "generator_busy", "server_busy"):
            if name in worst.measures:
                measures[name] = worst.measures[name]
        return Result(measures, best.curve, "" if good else "no rate was good")

    def _try(self, running: RunningServer, attempt: int, rate: float, quick: bool) -> Result:
        endpoint = evolve(running.endpoint, rooms=running.endpoint.rooms[attempt : attempt + 1])
        workload = Workload(endpoint, CLIENTS, CLIENTS, rate / CLIENTS, 2.0, patience=8.0)
        try:
            with Generator(workload) as generator:
                generator.connect()
                before, began = running.cpu, perf_counter()
                busy: list[float] = []
                measurement = generator.run(lambda: busy.append((running.cpu - before) / (perf_counter() - began)))
                measures = measures_of(measurement)
                measures["server_busy"] = busy[0] * 100
        except ConnectionError as error:
            return Result({}, problem=str(error))
        finally:
            _wait_until_idle(running)
        return Result(measures, curve_of(measurement))


def _wait_until_idle(running: RunningServer) -> None:
    """Give the server time to finish the work of a try that was too fast for it."""
    for _ in range(IDLE_CHECKS):
        before = running.cpu
        sleep(0.5)
        if running.cpu - before < 0.05:
            break
