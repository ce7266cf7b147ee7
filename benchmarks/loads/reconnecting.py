"""A client reconnects to a large document after a short interruption."""

from __future__ import annotations

from statistics import median
from time import sleep

from benchmarks.generator.client import FIRST_CLIENT_ID
from benchmarks.loads.base import MS, Context, Load, Result
from benchmarks.loads.document import open_document, upload
from benchmarks.servers.base import Server
from benchmarks.targets import Target
from canvas_collab.protocol.lib0 import Decoder
from canvas_collab.protocol.update import decode_update

#: The number of updates that the client missed, and how often it reconnects.
MISSED = 100
RETURNS = 20


class Reconnecting(Load):
    """The server's processor time for one reconnection, from the handshake to the last missed update."""

    name = "reconnecting"
    title = f"a client that missed {MISSED} updates of that document comes back"
    targets = (Target("cpu_per_return", limit=10),)

    def supports(self, server: Server) -> bool:
        """Whether the server keeps documents."""
        return server.has_documents

    def measure(self, context: Context, server: Server) -> Result:
        """Reconnect repeatedly, with the state vector from before the missed updates."""
        document = context.large_document()
        stored = document if server.has_store else None
        with server.start(context.testbed, 1, RETURNS + 3, stored) as running:
            if stored is None:
                writer = upload(running.endpoint, document)
            else:
                writer = open_document(running.endpoint, 0, len(document.data) * 9 // 10).client
            for _ in range(MISSED):
                writer.send_edit(1)
            sleep(2)
            before, seconds = running.cpu, []
            for number in range(1, RETURNS + 1):
                opened = open_document(running.endpoint, number, MISSED, document.vector)
                opened.client.close()
                seconds.append(opened.seconds * MS)
                context.progress(number / RETURNS)
            sleep(0.5)
            cpu = (running.cpu - before) / RETURNS * MS
            writer.close()
            decoder = Decoder(opened.answer[2:])
            runs = decode_update(decoder.var_bytes()).runs
        missing = MISSED - sum(run.end - run.clock for run in runs.get(FIRST_CLIENT_ID, ()))
        problem = f"{missing} of {MISSED} updates are missing" if missing else ""
        return Result({"cpu_per_return": cpu, "return": median(seconds), "bytes": len(opened.answer)}, problem=problem)
