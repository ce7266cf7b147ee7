"""A client types into a large document, and PostgreSQL's write-ahead log (WAL) is measured."""

from __future__ import annotations

import select
from time import perf_counter

from benchmarks.generator.client import Client
from benchmarks.loads.base import Context, Load, Result
from benchmarks.loads.document import open_document
from benchmarks.servers.base import Server
from benchmarks.targets import Target
from benchmarks.wal import wal_position

RATE = 5
SECONDS = 60
SHAPES = 39_000


class Writing(Load):
    """How many bytes of WAL PostgreSQL writes per minute while one client types."""

    name = "writing"
    title = f"one client types {RATE} characters/s into a document of 5 MB, for {SECONDS} s"
    targets = (Target("wal", 1 / 50, rivals=("hocuspocus-4",)),)

    def supports(self, server: Server) -> bool:
        """Whether the server keeps documents in PostgreSQL."""
        return server.name.startswith(("canvas-collab", "hocuspocus"))

    def measure(self, context: Context, server: Server) -> Result:
        """Type for a few seconds, then for those that are measured."""
        document = context.large_document(SHAPES)
        seconds = 10 if context.quick else SECONDS
        database = context.testbed.database
        with server.start(context.testbed, 1, 1, document) as running:
            writer = open_document(running.endpoint, 0, len(document.data) * 9 // 10).client
            self._type(context, writer, 3)
            # Vacuuming and checkpoints that earlier loads have left to do would be counted otherwise.
            database.query("VACUUM ANALYZE")
            database.query("CHECKPOINT")
            before = wal_position(database)
            self._type(context, writer, seconds)
            written = wal_position(database) - before
            writer.close()
        return Result({"wal": written / seconds * 60 / 1000})

    def _type(self, context: Context, writer: Client, seconds: float) -> None:
        began = perf_counter()
        for number in range(round(seconds * RATE)):
            due = began + number / RATE
            while (left := due - perf_counter()) > 0:
                if select.select((writer.socket,), (), (), left)[0]:
                    writer.receive()
            writer.send_edit(1)
            context.progress(number / RATE / seconds)
