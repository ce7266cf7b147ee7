"""People who have a document open and do nothing."""

from __future__ import annotations

from benchmarks import load as generated
from benchmarks.load import Generator
from benchmarks.loads.base import MB, Bench, Load, Result, Target
from benchmarks.servers import Server

ROOMS = 400
CLIENTS = 5


class Idle(Load):
    """What a connection takes of the memory, its cursor and its share of a room included."""

    name = "idle"
    title = f"{ROOMS * CLIENTS:,} idle connections in {ROOMS} rooms"
    targets = (Target("memory_per_connection", 0.6),)

    def measure(self, bench: Bench, server: Server) -> Result:
        """Connect everybody."""
        rooms = ROOMS // 10 if bench.quick else ROOMS
        with server.start(bench.workshop, rooms, CLIENTS) as running:
            empty = running.memory
            load = generated.Load(running.place, CLIENTS, CLIENTS, 1, 1, generated.Kind.CURSORS)
            with Generator(load) as generator:
                generator.connect()
                for client in generator.clients:
                    client.point()
                generator.rest(3)
                held = running.memory
                measures = {
                    "memory": held * MB,
                    "peak_memory": running.peak_memory * MB,
                    "memory_per_connection": (held - empty) / len(generator.clients) / 1024,
                }
        return Result(measures)
