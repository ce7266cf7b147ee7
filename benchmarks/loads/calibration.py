"""Measures the constants of the cost model; see :mod:`benchmarks.cost_model`."""

from __future__ import annotations

from collections.abc import Sequence
from time import sleep

from attrs import evolve, frozen

from benchmarks.cost_model import Constants, Counts, Sample, fit
from benchmarks.endpoint import Endpoint
from benchmarks.generator.generator import Generator
from benchmarks.generator.workload import Kind, Workload
from benchmarks.loads.base import TABLE, Context, Load, Result
from benchmarks.loads.document import open_document
from benchmarks.loads.traffic import measure_run
from benchmarks.servers.base import RunningServer, Server

#: How long each load runs, and how long the daemon is idle before its memory is measured, in seconds.
SECONDS = 3.0
SETTLED = 1.0

#: The rooms in which memory is measured, twice: first one client in each, then so many in others.
MEMORY_ROOMS = 150
MEMORY_CLIENTS = 6


@frozen
class Calibration:
    """A load that constants are fitted to; for the attributes see :class:`benchmarks.loads.traffic.Traffic`."""

    rooms: int
    clients: int
    writers: int
    rate: float
    kind: Kind = Kind.TYPING


#: They differ in what there is much of: wake-ups, updates, messages to clients, awareness updates, commits. None of
#: them is one of the loads that predictions are compared with.
CALIBRATIONS: Sequence[Calibration] = (
    Calibration(1, 2, 1, 20),
    Calibration(60, 3, 3, 2),
    Calibration(1, 150, 2, 5),
    Calibration(1, 50, 50, 20),
    Calibration(10, 10, 10, 10),
    Calibration(20, 5, 5, 10),
    # Many updates with few messages to clients: a daemon that is awake anyway.
    Calibration(1, 2, 1, 4000),
    Calibration(10, 2, 1, 1000),
    # Many updates in each flush.
    Calibration(1, 60, 60, 60),
    Calibration(1, 60, 60, 10, Kind.CURSORS),
    Calibration(60, 3, 3, 2, Kind.CURSORS),
)


class CostModel(Load):
    """The constants of the cost model."""

    name = "cost-model"
    title = "short loads that the constants of the cost model are fitted to"
    group = TABLE

    def supports(self, server: Server) -> bool:
        """Whether it is this server."""
        return server.name == "canvas-collab"

    def measure(self, context: Context, server: Server) -> Result:
        """Measure memory, then the loads, then a large document."""
        rooms = 2 * MEMORY_ROOMS + sum(calibration.rooms for calibration in CALIBRATIONS)
        members = max(calibration.clients for calibration in CALIBRATIONS)
        with server.start(context.testbed, rooms, members) as running:
            names = running.endpoint.rooms
            sleep(SETTLED)
            before = running.cpu
            sleep(2 * SETTLED)
            idle = (running.cpu - before) / (2 * SETTLED)
            memory = _memory(running, names)
            first, samples = 2 * MEMORY_ROOMS, []
            for number, calibration in enumerate(CALIBRATIONS):
                endpoint = evolve(running.endpoint, rooms=names[first : first + calibration.rooms])
                samples.append(_sample(context, running, endpoint, calibration))
                first += calibration.rooms
                context.progress((number + 1) / (len(CALIBRATIONS) + 1))
        constants = fit(samples, idle)
        document = _document_factor(context, server)
        constants = evolve(
            constants, base=memory.base, room=memory.room, connection=memory.connection, document=document
        )
        return Result(constants.measures())


def _sample(context: Context, running: RunningServer, endpoint: Endpoint, calibration: Calibration) -> Sample:
    workload = Workload(endpoint, calibration.clients, calibration.writers, calibration.rate, SECONDS, calibration.kind)
    with Generator(workload) as generator:
        generator.connect()
        result = measure_run(context, running, generator)
    if result.problem:
        raise RuntimeError(result.problem)
    measured = result.measures
    received = workload.updates / SECONDS
    is_cursors = calibration.kind is Kind.CURSORS
    counts = Counts(
        0.0 if is_cursors else received,
        received if is_cursors else 0.0,
        measured["frames"] / SECONDS,
        measured["commits"] / SECONDS,
        # Cursors are sent to their author, too, and so are edits of several people in one flush.
        measured["frames"] / SECONDS / (calibration.clients - (0.0 if is_cursors else 1.0)),
    )
    return Sample(
        counts, measured["cpu"] / SECONDS, measured["database_cpu"] / SECONDS, measured["wal_written"] / SECONDS
    )


def _memory(running: RunningServer, names: Sequence[str]) -> Constants:
    """Measure the memory of the daemon, of a room and of a connection that has a cursor."""
    base = running.memory
    held = []
    generators = []
    try:
        for first, clients in ((0, 1), (MEMORY_ROOMS, MEMORY_CLIENTS)):
            endpoint = evolve(running.endpoint, rooms=names[first : first + MEMORY_ROOMS])
            generator = Generator(Workload(endpoint, clients, clients, 1, 1, Kind.CURSORS))
            generators.append(generator)
            generator.connect()
            for client in generator.clients:
                client.send_cursor()
            generator.listen(SETTLED)
            held.append(running.memory)
    finally:
        for generator in generators:
            generator.close()
    single = (held[0] - base) / MEMORY_ROOMS
    several = (held[1] - held[0]) / MEMORY_ROOMS
    connection = max(several - single, 0.0) / (MEMORY_CLIENTS - 1)
    return Constants(base=base, connection=connection, room=max(single - connection, 0.0))


def _document_factor(context: Context, server: Server) -> float:
    """Measure how much memory a large document takes, as a multiple of its size."""
    document = context.large_document()
    with server.start(context.testbed, 1, 1, document) as running:
        sleep(SETTLED)
        before = running.memory
        opened = open_document(running.endpoint, 0, len(document.data) * 9 // 10)
        sleep(2 * SETTLED)
        held = running.memory
        opened.client.close()
    return max(held - before, 0) / len(document.data)
