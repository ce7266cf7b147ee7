"""Somebody was away for a moment, and comes back to a large document."""

from __future__ import annotations

from statistics import median
from time import sleep

from benchmarks.client import FIRST_CLIENT_ID
from benchmarks.loads.base import MS, Bench, Load, Result, Target
from benchmarks.loads.document import open_document, upload
from benchmarks.servers import Server
from canvas_collab.protocol.lib0 import Decoder
from canvas_collab.protocol.update import decode_update

MISSED = 100
RETURNS = 20


class Reconnecting(Load):
    """What the server has to do for each who comes back, from the handshake to the last update missed."""

    name = "reconnecting"
    title = f"a client that missed {MISSED} updates of that document comes back"
    targets = (Target("cpu_per_return", limit=10),)

    def measure(self, bench: Bench, server: Server) -> Result:
        """Come back again and again."""
        document = bench.document()
        stored = document if server.stores else None
        with server.start(bench.workshop, 1, RETURNS + 3, stored) as running:
            if stored is None:
                typist = upload(running.place, document)
            else:
                typist = open_document(running.place, 0, len(document.data) * 9 // 10).client
            for _ in range(MISSED):
                typist.type(1)
            sleep(2)
            before, seconds = running.cpu, []
            for number in range(1, RETURNS + 1):
                opened = open_document(running.place, number, MISSED, document.vector)
                opened.client.close()
                seconds.append(opened.seconds * MS)
                bench.progress(number / RETURNS)
            sleep(0.5)
            cpu = (running.cpu - before) / RETURNS * MS
            typist.close()
            decoder = Decoder(opened.answer[2:])
            runs = decode_update(decoder.var_bytes()).runs
        missing = MISSED - sum(run.end - run.clock for run in runs.get(FIRST_CLIENT_ID, ()))
        problem = f"{missing} of {MISSED} updates are missing" if missing else ""
        return Result({"cpu_per_return": cpu, "return": median(seconds), "bytes": len(opened.answer)}, problem=problem)
