"""A large document is opened."""

from __future__ import annotations

from statistics import median
from time import sleep

from benchmarks.loads.base import MB, MS, Bench, Load, Result, Target
from benchmarks.loads.document import open_document, upload
from benchmarks.servers import Running, Server

COLD = 3
WARM = 9


class Opening(Load):
    """How long until the document is there, from the store and from memory; and what it takes of the memory."""

    name = "opening"
    title = "a document of 60,000 shapes (8 MB) is opened"
    targets = (Target("cold", 0.2), Target("warm", 0.5), Target("memory", 0.4))

    def measure(self, bench: Bench, server: Server) -> Result:
        """Open it again and again."""
        document = bench.document()
        enough = len(document.data) * 9 // 10
        cold = []
        for start in range(COLD if server.stores else 1):
            stored = document if server.stores else None
            with server.start(bench.workshop, 1, WARM + 2, stored) as running:
                if stored is None:
                    holder = upload(running.place, document)
                else:
                    first = open_document(running.place, 0, enough)
                    cold.append(first.seconds * MS)
                    holder = first.client
                bench.progress((start + 1) / (COLD + 1))
                if start == COLD - 1 or stored is None:
                    measures = self._warm(running, enough)
                holder.close()
        if cold:
            measures["cold"] = median(cold)
        return Result(measures)

    def _warm(self, running: Running, enough: int) -> dict[str, float]:
        sleep(2)
        held = running.memory
        warm = []
        for number in range(1, WARM + 1):
            opened = open_document(running.place, number, enough)
            opened.client.close()
            warm.append(opened.seconds * MS)
        return {"warm": median(warm), "memory": held * MB, "peak_memory": running.peak_memory * MB}
