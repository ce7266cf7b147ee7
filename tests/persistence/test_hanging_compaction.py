"""A compaction that hangs: snapshots of other documents are written, and the daemon stops in time."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Doc, Map

from canvas_collab.protocol import sync
from canvas_collab.protocol.update import clocks_of, decode_update, encode_update
from tests.conftest import StartDaemon
from tests.support.clients import Client, typed
from tests.support.daemons import Daemon
from tests.support.databases import TestDatabase, User
from tests.support.stored_poison import circle


@pytest.fixture
def ada(database: TestDatabase) -> User:
    ada = database.add_user("ada")
    for diagram in ("large", "small"):
        database.add_diagram(diagram, ada)
    return ada


def compaction_processes(pid: int) -> list[int]:
    """Return the daemon's child processes that compact, without one that is still being started."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            children = map(int, path.read_text().split())
            found += [child for child in children if b"compactor" in Path(f"/proc/{child}/cmdline").read_bytes()]
    return found


def large_update() -> bytes:
    doc: Doc[Any] = Doc()
    shapes = doc.get("shapes", type=Map)
    with doc.transaction():
        for number in range(20_000):
            shapes[f"shape {number}"] = "a label " * 4
    return doc.get_update()


def edit(daemon: Daemon, diagram: str, user: User, update: bytes) -> None:
    with Client(daemon, diagram, user) as client:
        client.send(sync.encode_update(update))
        client.flush()


def test_a_hanging_compaction_delays_no_other_snapshot_and_ends_with_the_daemon(
    database: TestDatabase, start_daemon: StartDaemon, ada: User
) -> None:
    if not Path("/proc/self/task").is_dir():
        pytest.skip("this system does not list the children of a process")
    daemon = start_daemon(database, LOG_LEVEL="debug")
    edit(daemon, "large", ada, large_update())
    daemon.wait_until(lambda: bool(compaction_processes(daemon.pid)))
    [child] = compaction_processes(daemon.pid)
    os.kill(child, signal.SIGSTOP)
    edit(daemon, "small", ada, typed("small"))
    assert daemon.wait_for_event("snapshot written", room="diagram-small")["entries"] == 1
    assert daemon.events("compaction failed") == []
    began = time.monotonic()
    daemon.stop()
    assert time.monotonic() - began < 6
    assert daemon.events("stopped")
    assert not Path(f"/proc/{child}").exists()
    # The snapshot is written without compaction.
    assert database.query("SELECT count(*) FROM yjs_update_log WHERE merged_at IS NULL") == [(0,)]


def test_origins_that_form_a_cycle_are_compacted_like_any_others(
    database: TestDatabase, start_daemon: StartDaemon, ada: User
) -> None:
    daemon = start_daemon(database, LOG_LEVEL="debug", HISTORY_RETENTION=0)
    deleted = encode_update({}, clocks_of(decode_update(circle())))
    for update in (circle(), deleted, typed("more " * 500), typed("and more " * 500)):
        edit(daemon, "small", ada, update)
        daemon.wait_until(lambda: daemon.get("/health")[1]["documents"] == 0)
    assert any(event["compacted"] for event in daemon.events("snapshot written"))
    daemon.stop()
