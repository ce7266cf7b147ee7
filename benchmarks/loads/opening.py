"""A large document is opened, from the server's store and from its memory."""

from __future__ import annotations

from statistics import median
from time import perf_counter, sleep

from benchmarks.loads.base import MB, MS, TABLE, Context, Load, Result
from benchmarks.loads.document import open_document, upload
from benchmarks.servers.base import RunningServer, Server
from benchmarks.targets import Target

#: How often the document is opened from the store, each time by a new server, and from memory.
COLD = 3
WARM = 9


class Opening(Load):
    """The time until a client has the document, and the memory that the server holds it in."""

    name = "opening"
    title = "a document of 60,000 shapes (8 MB) is opened"
    group = TABLE
    targets = (Target("cold", 0.03), Target("times_read", limit=3), Target("warm", 0.5), Target("memory", 0.4))

    def supports(self, server: Server) -> bool:
        """Whether the server keeps documents."""
        return server.has_documents

    def measure(self, context: Context, server: Server) -> Result:
        """Open the document repeatedly."""
        document = context.large_document()
        enough = len(document.data) * 9 // 10
        cold = []
        for start in range(COLD if server.has_store else 1):
            stored = document if server.has_store else None
            with server.start(context.testbed, 1, WARM + 2, stored) as running:
                if stored is None:
                    holder = upload(running.endpoint, document)
                else:
                    first = open_document(running.endpoint, 0, enough)
                    cold.append(first.seconds * MS)
                    holder = first.client
                context.progress((start + 1) / (COLD + 1))
                if start == COLD - 1 or stored is None:
                    measures = self._measure_warm(running, enough)
                holder.close()
        if cold:
            measures["cold"] = median(cold)
            if server.name.startswith("canvas-collab"):
                measures["read"] = median(_read(context) for _ in range(WARM)) * MS
                measures["times_read"] = measures["cold"] / measures["read"]
        return Result(measures)

    def _measure_warm(self, running: RunningServer, enough: int) -> dict[str, float]:
        sleep(2)
        held = running.memory
        warm = []
        for number in range(1, WARM + 1):
            opened = open_document(running.endpoint, number, enough)
            opened.client.close()
            warm.append(opened.seconds * MS)
        return {"warm": median(warm), "memory": held * MB, "peak_memory": running.peak_memory * MB}


def _read(context: Context) -> float:
    """Read the row of the document with psycopg2, and nothing else; return the seconds that it took.

    The connection is there already.
    """
    connection = context.testbed.database.connect()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            started = perf_counter()
            cursor.execute("SELECT data FROM yjs_document WHERE id = 'diagram-0'")
            [data] = cursor.fetchone() or [b""]
            seconds = perf_counter() - started
        assert len(data) > 0
        return seconds
    finally:
        connection.close()
