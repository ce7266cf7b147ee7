"""A server is started, and then has nothing to do."""

from __future__ import annotations

from time import sleep

from benchmarks.loads.base import MB, TABLE, Context, Load, Result
from benchmarks.servers.base import Server
from benchmarks.targets import Target

#: For how long the server has been ready when its memory is measured, in seconds.
SETTLED = 1.0


class Starting(Load):
    """The time from the start of the process until it serves, and its memory before the first client.

    This server counts as ready when ``/ready`` says so: its database is there, with its tables.  Others are when their
    port accepts connections.
    """

    name = "starting"
    title = "start with an existing database, until ready; then memory when idle"
    group = TABLE
    is_noisy = True
    targets = (Target("ready_after", limit=0.6), Target("resident_memory", limit=50))

    def measure(self, context: Context, server: Server) -> Result:
        """Start the server, and wait a moment."""
        with server.start(context.testbed, 1, 1) as running:
            sleep(SETTLED)
            measures = {
                "ready_after": running.ready_after,
                "cpu": running.cpu,
                "memory": running.memory * MB,
                "resident_memory": running.resident_memory * MB,
            }
        return Result(measures)
