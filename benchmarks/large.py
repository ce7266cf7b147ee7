"""How long a large document blocks the reactor: ``python -m benchmarks.large``.

Ten clients open the document at once, one types into it, and its snapshot is written and compacted.  Meanwhile a timer
in the daemon measures every 5 ms how late the reactor calls it.  Also measured is the write-ahead log (WAL) that
PostgreSQL writes while one client types.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from pycrdt import Doc, Map, Text
from websockets.sync.client import connect

from benchmarks.generator.measurement import percentile
from benchmarks.installation import installation
from benchmarks.wal import wal_position
from canvas_collab.protocol import sync
from tests.support.clients import Client
from tests.support.daemons import Daemon
from tests.support.databases import User


def shapes(size: int) -> list[bytes]:
    """Updates that add shapes to a document, of at least `size` bytes in total."""
    doc: Doc[Any] = Doc()
    drawn = doc.get("shapes", type=Map)
    updates: list[bytes] = []
    subscription = doc.observe(lambda event: updates.append(event.update))
    number = 0
    while sum(map(len, updates)) < size:
        with doc.transaction():
            for number in range(number, number + 1000):  # noqa: B020
                drawn[f"shape-{number}"] = Map({"x": number * 1.5, "y": number / 3, "kind": "rectangle"})
        number += 1
    doc.unobserve(subscription)
    return updates


def open_and_leave(daemon: Daemon, user: User) -> float:
    """Open the document with an empty state vector; return the seconds until it has arrived."""
    started = time.perf_counter()
    url = f"{daemon.ws_url}/diagram-large?token={quote(user.token)}"
    with connect(url, proxy=None, compression=None, max_size=None) as socket:
        socket.send(sync.encode_step_1(b"\x00"))
        while (message := socket.recv())[:2] != b"\x00\x01":
            assert message
        return time.perf_counter() - started


def type_into(client: Client, characters: int, rate: float) -> None:
    """Type so many characters, `rate` of them per second."""
    doc: Doc[Any] = Doc()
    text = doc.get("text", type=Text)
    updates: list[bytes] = []
    subscription = doc.observe(lambda event: updates.append(event.update))
    due = time.perf_counter()
    for _ in range(characters):
        text += "x"
        client.send(sync.encode_update(updates[-1]))
        due += 1 / rate
        time.sleep(max(due - time.perf_counter(), 0))
    doc.unobserve(subscription)


def measure(megabytes: float, seconds: float, stalls: Path) -> None:
    """Measure everything, and print it.

    :param stalls: the file that the daemon writes the reactor's lateness to.
    """
    with installation(STALLS_FILE=stalls, SNAPSHOT_DEBOUNCE=1, LOG_LEVEL="debug") as (database, daemon):
        user = database.add_user("large")
        database.add_diagram("large", user)
        with Client(daemon, "large", user) as client:
            for update in shapes(round(megabytes * 1e6)):
                client.send(sync.encode_update(update))
            client.flush()
        daemon.wait_until(lambda: daemon.get("/health")[1]["documents"] == 0, timeout=120)
        with ThreadPoolExecutor(10) as pool:
            for _ in range(3):
                durations = sorted(pool.map(lambda _: open_and_leave(daemon, user), range(10)))
        print(f"ten clients open it at once: {durations[0] * 1000:.0f} to {durations[-1] * 1000:.0f} ms")
        with Client(daemon, "large", user) as client:
            type_into(client, 300, 100)
            client.flush()
            before = wal_position(database)
            type_into(client, round(seconds * 5), 5)
            client.flush()
            daemon.wait_until(lambda: daemon.get("/health")[1]["unsaved_updates"] == 0)
            written = wal_position(database) - before
        print(f"typing at 5 characters a second: {written / seconds * 60 / 1024:.0f} KiB of WAL a minute")
        for event in daemon.events("snapshot written"):
            print("snapshot", {name: event[name] for name in ("entries", "size", "compacted", "seconds")})
        daemon.wait_until(lambda: daemon.get("/health")[1]["documents"] == 0, timeout=120)
        daemon.stop()
    lateness = json.loads(stalls.read_text())
    print(f"reactor late: p99 {percentile(lateness, 0.99) * 1000:.1f} ms, at most {lateness[-1] * 1000:.1f} ms")
    print("the ten worst:", [round(value * 1000, 1) for value in lateness[-10:]])


def main() -> None:
    """Run with the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large", description=__doc__)
    parser.add_argument("--megabytes", type=float, default=10, help="the size of the document (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60, help="how long the client types (default: %(default)s)")
    options = parser.parse_args()
    with TemporaryDirectory() as directory:
        measure(options.megabytes, options.seconds, Path(directory) / "stalls")


if __name__ == "__main__":
    main()
