"""Somebody types into a large document: what the database writes for that."""

from __future__ import annotations

import select
from time import perf_counter

from benchmarks.client import Client
from benchmarks.loads.base import Bench, Load, Result, Target
from benchmarks.loads.document import open_document
from benchmarks.servers import LargeDocument, Server
from tests.support.databases import TestDatabase

RATE = 5
SECONDS = 60
SHAPES = 39_000


class Writing(Load):
    """How much PostgreSQL writes to its log in a minute while one client types."""

    name = "writing"
    title = f"one client types {RATE} characters/s into a document of 5 MB, for {SECONDS} s"
    targets = (Target("wal", 1 / 50, rivals=("hocuspocus-4",)),)

    def suits(self, server: Server) -> bool:
        """Whether it keeps documents in PostgreSQL."""
        return server.name.startswith(("canvas-collab", "hocuspocus"))

    def measure(self, bench: Bench, server: Server) -> Result:
        """Type for a minute, after it has become quiet."""
        document = LargeDocument.draw(bench.workshop.directory, 3_900 if bench.quick else SHAPES)
        seconds = 10 if bench.quick else SECONDS
        database = bench.workshop.database
        with server.start(bench.workshop, 1, 1, document) as running:
            typist = open_document(running.place, 0, len(document.data) * 9 // 10).client
            self._type(bench, typist, 3)
            # What is left to do from earlier loads should not be counted here.
            database.query("VACUUM ANALYZE")
            database.query("CHECKPOINT")
            before = _written(database)
            self._type(bench, typist, seconds)
            written = _written(database) - before
            typist.close()
        return Result({"wal": written / seconds * 60 / 1000})

    def _type(self, bench: Bench, typist: Client, seconds: float) -> None:
        began = perf_counter()
        for number in range(round(seconds * RATE)):
            due = began + number / RATE
            while (left := due - perf_counter()) > 0:
                if select.select((typist.socket,), (), (), left)[0]:
                    typist.receive()
            typist.type(1)
            bench.progress(number / RATE / seconds)


def _written(database: TestDatabase) -> int:
    [[position]] = database.query("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")
    return int(position)
