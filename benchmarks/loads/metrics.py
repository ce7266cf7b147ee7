"""What the daemon's metrics cost: counting, and being scraped."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from threading import Timer
from time import sleep

from attrs import evolve

from benchmarks.counting import copy_sources
from benchmarks.generator.generator import Generator
from benchmarks.generator.workload import Workload
from benchmarks.loads.base import MS, TABLE, US, Context, Load, Result
from benchmarks.loads.traffic import measure_run
from benchmarks.scraping import scrape
from benchmarks.servers.base import Server
from benchmarks.servers.canvas_collab import CanvasCollab
from benchmarks.targets import Target

#: The busy room.
CLIENTS = 100
RATE = 20

#: The number of pairs of runs, and how long each run is, in seconds: as long as a scraper waits, so that one scrape
#: falls into each.
PAIRS = 5
SECONDS = 5.0

#: The scrapes of an otherwise idle daemon whose CPU is measured.
SCRAPES = 20


class Metrics(Load):
    """The difference in processor time between daemons that count and are scraped, and those that are not."""

    name = "metrics"
    title = f"the busy room, metrics scraped every {SECONDS:g} s, against one that does not count, in {PAIRS} pairs"
    group = TABLE
    targets = (Target("overhead", limit=2),)

    def supports(self, server: Server) -> bool:
        """Whether it is this server."""
        return server.name == "canvas-collab"

    def measure(self, context: Context, server: Server) -> Result:
        """Run the pairs, in alternating order."""
        pairs = 2 if context.quick else PAIRS
        with TemporaryDirectory(prefix="canvas-collab-metrics-") as directory:
            servers = {}
            for counting in (True, False):
                copy = Path(directory) / ("counting" if counting else "not-counting")
                removed = copy_sources(copy, counting)
                if not counting and not removed:
                    raise RuntimeError("no statement that counts was found")
                servers[counting] = CanvasCollab(copy)
            taken: dict[bool, list[float]] = {True: [], False: []}
            for number in range(pairs):
                for counting in (True, False) if number % 2 else (False, True):
                    result, scraped = self._run(context, servers[counting], counting)
                    if result.problem:
                        return result
                    taken[counting].append(result.measures["cpu"] / result.measures["delivered"])
                context.progress((number + 1) / (pairs + 1))
        overheads = sorted(
            (with_metrics / without - 1) * 100 for with_metrics, without in zip(taken[True], taken[False], strict=True)
        )
        return Result(
            {
                "overhead": median(overheads),
                "least_overhead": overheads[0],
                "greatest_overhead": overheads[-1],
                "cpu_per_delivery": median(taken[True]) * US,
                "scrape": scraped,
            }
        )

    def _run(self, context: Context, server: Server, counting: bool) -> tuple[Result, float]:
        """Run the busy room once; return the result, and the CPU of a scrape in milliseconds."""
        with server.start(context.testbed, 2, CLIENTS) as running:
            workload = Workload(running.endpoint, CLIENTS, CLIENTS, RATE, SECONDS)
            health_url = running.health_url
            assert health_url is not None
            warm_up = evolve(workload, endpoint=evolve(running.endpoint, rooms=running.endpoint.rooms[1:]), seconds=0.5)
            with Generator(warm_up) as generator:
                generator.connect()
                generator.run()
            before = running.cpu
            for _ in range(SCRAPES):
                scrape(health_url)
            scraped = (running.cpu - before) / SCRAPES * MS
            # The measurement itself would scrape, too.
            unscraped = evolve(running, health_url=None)
            workload = evolve(workload, endpoint=evolve(running.endpoint, rooms=running.endpoint.rooms[:1]))
            timer = Timer(SECONDS / 2, scrape, [health_url])
            with Generator(workload) as generator:
                generator.connect()
                if counting:
                    timer.start()
                result = measure_run(context, unscraped, generator)
                if counting:
                    timer.join()
                sleep(0.2)
            return result, scraped
