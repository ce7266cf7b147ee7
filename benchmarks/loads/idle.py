"""Clients that are connected and send nothing."""

from __future__ import annotations

from benchmarks.generator.generator import Generator
from benchmarks.generator.workload import Kind, Workload
from benchmarks.loads.base import MB, TABLE, Context, Load, Result
from benchmarks.servers.base import Server
from benchmarks.targets import Target

ROOMS = 400
CLIENTS = 5


class Idle(Load):
    """The server's memory per connection, including one awareness state and a share of the room."""

    name = "idle"
    title = f"{ROOMS * CLIENTS:,} idle connections in {ROOMS} rooms"
    group = TABLE
    targets = (Target("memory_per_connection", 0.6),)

    def measure(self, context: Context, server: Server) -> Result:
        """Connect the clients, have each send its cursor once, and measure the memory."""
        rooms = ROOMS // 10 if context.quick else ROOMS
        with server.start(context.testbed, rooms, CLIENTS) as running:
            empty = running.memory
            workload = Workload(running.endpoint, CLIENTS, CLIENTS, 1, 1, Kind.CURSORS)
            with Generator(workload) as generator:
                generator.connect()
                for client in generator.clients:
                    client.send_cursor()
                generator.listen(3)
                held = running.memory
                measures = {
                    "rooms": rooms,
                    "memory": held * MB,
                    "peak_memory": running.peak_memory * MB,
                    "memory_per_connection": (held - empty) / len(generator.clients) / 1024,
                }
        return Result(measures)
