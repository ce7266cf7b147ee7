"""Random histories, sent through the server by three clients at once, give the documents that Yjs makes of them.

The histories and the comparison are in tests/node/histories.mjs. A seed makes the same history again; a failure names
its seeds. HISTORY_SEED moves the range of seeds, for a longer search than one test run makes.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import StartDaemon
from tests.support.daemons import Daemon
from tests.support.databases import TestDatabase

FIRST_SEED = int(os.environ.get("HISTORY_SEED", "1"))
LIVE = range(FIRST_SEED, FIRST_SEED + 200)
RELOADED = range(LIVE.stop, LIVE.stop + 70)
RESTARTED = range(RELOADED.stop, RELOADED.stop + 70)

CONCURRENCY = 6
SECONDS = 300


class Histories:
    """Runs the Node program against a daemon, as a user who may write to the diagrams of all seeds."""

    def __init__(self, node: str, directory: Path, database: TestDatabase) -> None:
        self._command = [node, str(directory / "histories.mjs")]
        self._user = database.add_user("Historian")
        database.query(
            "INSERT INTO diagram (id, owner_id, name) SELECT 'history-' || seed, %s, 'History ' || seed"
            " FROM generate_series(%s, %s) AS seed",
            (self._user.id, LIVE.start, RESTARTED.stop),
        )

    def run(
        self, daemon: Daemon, seeds: Sequence[int], *, send: Sequence[str] = (), check: bool = False
    ) -> dict[str, int]:
        """Send parts of each history, optionally compare the documents, and return the counts of the Node program."""
        options = {
            "url": daemon.ws_url,
            "headers": {"Cookie": self._user.cookie},
            "seeds": list(seeds),
            "roomPrefix": "diagram-history-",
            "send": list(send),
            "check": check,
            "concurrency": CONCURRENCY,
            "seconds": 30,
        }
        node = subprocess.run(
            [*self._command, json.dumps(options)], capture_output=True, encoding="utf-8", timeout=SECONDS
        )
        assert node.returncode == 0, node.stderr
        *problems, last = [json.loads(line) for line in node.stdout.splitlines()]
        assert not problems, "\n".join(f"seed {entry['seed']}: {entry['problem']}" for entry in problems)
        counts: dict[str, int] = last["counts"]
        assert counts["histories"] == len(seeds)
        return counts


@pytest.fixture
def histories(node_executable: str, node_path: Path, database: TestDatabase) -> Histories:
    return Histories(node_executable, node_path, database)


def wait_until_nothing_is_in_memory(daemon: Daemon, timeout: float = 30) -> None:
    deadline = time.monotonic() + timeout
    while True:
        _status, health = daemon.get("/health")
        if health["documents"] == 0 and health["unsaved_updates"] == 0:
            return
        assert time.monotonic() < deadline, f"documents stayed in memory: {health}"
        # Nothing outside the daemon announces it.
        threading.Event().wait(0.05)


def test_clients_get_the_document_that_yjs_makes_of_the_same_updates_in_any_order(
    histories: Histories, database: TestDatabase, start_daemon: StartDaemon
) -> None:
    daemon = start_daemon(database)

    counts = histories.run(daemon, LIVE, send=["first", "second"], check=True)

    assert counts["messages"] > 10 * len(LIVE)
    assert counts["ambiguous"] <= len(LIVE) / 50, "Yjs too often disagrees with itself for this to show much"
    assert counts["torn"] > 0, "no history tore an emoji"
    assert counts["withoutGc"] > 0, "no history kept its deleted content"
    assert counts["heldBack"] > 0, "no history had gaps that were filled later"


def test_a_document_that_was_unloaded_is_loaded_as_yjs_would_have_it(
    histories: Histories, database: TestDatabase, start_daemon: StartDaemon
) -> None:
    daemon = start_daemon(database)
    histories.run(daemon, RELOADED, send=["first"])
    wait_until_nothing_is_in_memory(daemon)
    histories.run(daemon, RELOADED, send=["second"])
    wait_until_nothing_is_in_memory(daemon)

    histories.run(daemon, RELOADED, check=True)


def test_gaps_left_before_a_restart_are_filled_by_what_comes_after_it(
    histories: Histories, database: TestDatabase, start_daemon: StartDaemon
) -> None:
    daemon = start_daemon(database)
    histories.run(daemon, RESTARTED, send=["first"])
    daemon.stop()

    daemon = start_daemon(database)
    histories.run(daemon, RESTARTED, send=["second"], check=True)
    daemon.stop()

    histories.run(start_daemon(database), RESTARTED, check=True)
