"""What a document of megabytes does to everybody else: ``python -m benchmarks.large``.

Ten clients open it, one types into it, it is written, compacted, left, and opened again; meanwhile the reactor's
lateness is measured every 5 ms.  Then one client types for a minute, and what PostgreSQL writes is measured.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from pycrdt import Doc, Map, Text
from websockets.sync.client import connect

from benchmarks.installation import installation
from benchmarks.load import percentile
from canvas_collab.protocol import sync
from tests.support.clients import Client
from tests.support.daemons import Daemon
from tests.support.databases import TestDatabase, User


def shapes(size: int) -> list[bytes]:
    """Updates that draw shapes, until they have so many bytes."""
    doc: Doc = Doc()
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
    """Open the document as somebody who has nothing of it; returns the seconds that took."""
    started = time.perf_counter()
    url = f"{daemon.ws_url}/diagram-large?token={quote(user.token)}"
    with connect(url, proxy=None, compression=None, max_size=None) as socket:
        socket.send(sync.encode_step_1(b"\x00"))
        while (message := socket.recv())[:2] != b"\x00\x01":
            assert message
        return time.perf_counter() - started


def type_into(client: Client, characters: int, rate: float) -> None:
    """Type, at so many characters a second."""
    doc: Doc = Doc()
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


def wal_position(database: TestDatabase) -> int:
    """How many bytes the database has written to its log since it was made."""
    [[position]] = database.query("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")
    return int(position)


def measure(megabytes: float, seconds: float, stalls: Path) -> None:
    """Measure everything, and print it."""
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
                taken = sorted(pool.map(lambda _: open_and_leave(daemon, user), range(10)))
        print(f"ten clients open it at once: {taken[0] * 1000:.0f} to {taken[-1] * 1000:.0f} ms")
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
    """Run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large", description=__doc__)
    parser.add_argument("--megabytes", type=float, default=10)
    parser.add_argument("--seconds", type=float, default=60, help="how long somebody types")
    options = parser.parse_args()
    with TemporaryDirectory() as directory:
        measure(options.megabytes, options.seconds, Path(directory) / "stalls")


if __name__ == "__main__":
    main()
