"""Everybody comes at once, as after a restart; and one after the other."""

from __future__ import annotations

from attrs import evolve

from benchmarks import load as generated
from benchmarks.load import Generator, percentile
from benchmarks.loads.base import MS, Bench, Load, Result, Target
from benchmarks.servers import Server

ROOMS = 100
CLIENTS = 5
SINGLE = 200


class Arriving(Load):
    """What it takes to let people in, their sessions and roles looked up."""

    name = "arriving"
    title = f"{ROOMS * CLIENTS} clients connect and authenticate at once"
    targets = (Target("cpu", limit=2), Target("handshake", limit=50))

    def measure(self, bench: Bench, server: Server) -> Result:
        """Come in."""
        with server.start(bench.workshop, ROOMS, CLIENTS) as running:
            load = generated.Load(running.place, CLIENTS, CLIENTS, 1, 1, at_once=None)
            before = running.cpu
            with Generator(load) as generator:
                generator.connect()
                cpu = running.cpu - before
                began = min(client.connected_at for client in generator.clients)
                opened = sorted(client.opened_at - client.connected_at for client in generator.clients)
                everybody = max(client.synced_at for client in generator.clients) - began
            bench.progress(0.5)
            rooms = running.place.rooms[: SINGLE // CLIENTS]
            single = evolve(load, place=evolve(running.place, rooms=rooms), at_once=1)
            with Generator(single) as generator:
                generator.connect()
                single_opened = sorted(client.opened_at - client.connected_at for client in generator.clients)
        measures = {
            "cpu": cpu,
            "seconds": everybody,
            "handshake_at_once": percentile(opened, 0.99) * MS,
            "handshake": percentile(single_opened, 0.99) * MS,
        }
        return Result(measures)
