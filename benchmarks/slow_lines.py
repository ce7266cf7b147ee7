"""A large document on slow lines: ``python -m benchmarks.slow_lines``.

Real clients, with their own timeouts, each open the document through a proxy that passes on so many bytes in a second.
Meanwhile one client types into the document on a fast line, and another one measures when it receives that.
"""

from __future__ import annotations

import argparse
import threading
import time
from contextlib import ExitStack
from typing import Any

from pycrdt import Doc, Text

from benchmarks.generator.measurement import percentile
from benchmarks.installation import installation
from benchmarks.large import shapes
from benchmarks.servers.node import node
from canvas_collab.protocol import sync
from tests.support.clients import Client
from tests.support.daemons import ROOT, Daemon
from tests.support.databases import User
from tests.support.hocuspocus_providers import Providers
from tests.support.slow_line import SlowLine
from tests.support.yjs_clients import VERSIONS, YjsClient

ROOM = "diagram-large"

#: How many edits the client on a fast line makes in a second.
EDITS = 10


class Bystanders:
    """A client that types, and one that measures how long each edit takes to arrive."""

    def __init__(self, daemon: Daemon, user: User) -> None:
        self._daemon = daemon
        self._user = user
        #: Set when both have opened the document.
        self.are_ready = threading.Event()
        self._has_ended = threading.Event()
        self.latencies: list[float] = []

    def run(self) -> None:
        """Type until :meth:`end` is called."""
        with (
            # It reads nothing, not even what would answer its pings.
            Client(self._daemon, "large", self._user, ping_interval=None, max_queue=None) as writer,
            Client(self._daemon, "large", self._user) as reader,
        ):
            doc: Doc[Any] = Doc()
            text = doc.get("text", type=Text)
            self.are_ready.set()
            while not self._has_ended.is_set():
                before = doc.get_state()
                text += "x"
                update = doc.get_update(before)
                started = time.perf_counter()
                writer.send(sync.encode_update(update))
                while reader.receive()[:2] != b"\x00\x02":
                    pass
                self.latencies.append(time.perf_counter() - started)
                self._has_ended.wait(1 / EDITS)

    def end(self) -> None:
        """End :meth:`run`."""
        self._has_ended.set()


def open_slowly(clients: Providers, daemon: Daemon, user: User, rate: float, timeout: float) -> bool:
    """Open the document by a client of each kind, each with a line of its own; return whether none was cut."""
    headers = {"Cookie": user.cookie}
    with ExitStack() as lines:
        slow: list[tuple[SlowLine, YjsClient]] = []
        for version in VERSIONS:
            line = lines.enter_context(SlowLine(daemon.ws_port, rate))
            client = clients.connect(
                f"y-websocket {version}", line.url, ROOM, version=version, headers=headers, wait=False
            )
            slow.append((line, client))
        line = lines.enter_context(SlowLine(daemon.ws_port, rate))
        provider = clients.provider("HocuspocusProvider 4.8.0", ROOM, line.url, token=user.token, wait=False)
        slow.append((line, provider))
        started = time.perf_counter()
        everything_arrived = True
        for line, client in slow:
            try:
                client.wait_synced(timeout=max(timeout - (time.perf_counter() - started), 1))
                ending = f"synced after {time.perf_counter() - started:.0f} s"
            except AssertionError:
                ending = f"not synced after {time.perf_counter() - started:.0f} s"
                everything_arrived = False
            everything_arrived = everything_arrived and line.connections == 1
            print(f"{client.name}: {ending}, {line.received / 1e6:.1f} MB, connections: {line.connections}", flush=True)
        return everything_arrived


def measure(megabytes: float, megabits: float, **settings: object) -> bool:
    """Measure everything, and print it; return whether no client was cut."""
    rate = megabits * 1e6 / 8
    with installation(**settings) as (database, daemon), Providers(node(), ROOT / "tests" / "node") as clients:
        user = database.add_user("large")
        database.add_diagram("large", user)
        with Client(daemon, "large", user) as client:
            for update in shapes(round(megabytes * 1e6)):
                client.send(sync.encode_update(update))
            client.flush()
        bystanders = Bystanders(daemon, user)
        typing = threading.Thread(target=bystanders.run)
        typing.start()
        try:
            bystanders.are_ready.wait(60)
            time.sleep(10)
            alone = sorted(bystanders.latencies)
            # Twice what the line needs, as clients that were cut begin anew.
            succeeded = open_slowly(clients, daemon, user, rate, 2 * megabytes * 1e6 / rate)
        finally:
            bystanders.end()
            typing.join()
        meanwhile = sorted(bystanders.latencies[len(alone) :])
        for name, latencies in (("before", alone), ("meanwhile", meanwhile)):
            p50, p99 = (percentile(latencies, share) * 1000 for share in (0.5, 0.99))
            print(
                f"an edit reaches a second client, {name}: p50 {p50:.1f} ms, p99 {p99:.1f} ms ({len(latencies)} edits)"
            )
        return succeeded


def main() -> None:
    """Run with the options of the command line; the exit code is 1 if a client was cut."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slow_lines", description=__doc__)
    parser.add_argument("--megabytes", type=float, default=8, help="the size of the document (default: %(default)s)")
    parser.add_argument("--megabits", type=float, default=1, help="of each line, in a second (default: %(default)s)")
    parser.add_argument("--whole", action="store_true", help="send no parts, to compare")
    options = parser.parse_args()
    settings = {"SYNC_PART_SIZE": 2**31} if options.whole else {}
    raise SystemExit(0 if measure(options.megabytes, options.megabits, **settings) else 1)


if __name__ == "__main__":
    main()
