"""Many clients connect at once, as after a restart of the server; then others one by one."""

from __future__ import annotations

from attrs import evolve

from benchmarks.generator.generator import Generator
from benchmarks.generator.measurement import percentile
from benchmarks.generator.workload import Workload
from benchmarks.loads.base import MS, Context, Load, Result
from benchmarks.servers.base import Server
from benchmarks.targets import Target

ROOMS = 100
CLIENTS = 5

#: The number of clients that connect one by one.
SINGLE = 200


class Arriving(Load):
    """The processor time and duration of handshakes, including the lookup of session and role."""

    name = "arriving"
    title = f"{ROOMS * CLIENTS} clients connect and authenticate at once"
    targets = (Target("cpu", limit=2), Target("handshake", limit=50))

    def measure(self, context: Context, server: Server) -> Result:
        """Connect all clients at once, then the single ones."""
        with server.start(context.testbed, ROOMS, CLIENTS) as running:
            workload = Workload(running.endpoint, CLIENTS, CLIENTS, 1, 1, at_once=None)
            before = running.cpu
            with Generator(workload) as generator:
                generator.connect()
                cpu = running.cpu - before
                began = min(client.connected_at for client in generator.clients)
                opened = sorted(client.opened_at - client.connected_at for client in generator.clients)
                seconds = max(client.synced_at for client in generator.clients) - began
            context.progress(0.5)
            rooms = running.endpoint.rooms[: SINGLE // CLIENTS]
            one_by_one = evolve(workload, endpoint=evolve(running.endpoint, rooms=rooms), at_once=1)
            with Generator(one_by_one) as generator:
                generator.connect()
                single_opened = sorted(client.opened_at - client.connected_at for client in generator.clients)
        measures = {
            "cpu": cpu,
            "seconds": seconds,
            "handshake_at_once": percentile(opened, 0.99) * MS,
            "handshake": percentile(single_opened, 0.99) * MS,
        }
        return Result(measures)
