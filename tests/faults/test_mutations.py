"""Mutated inputs to everything that the daemon receives: it refuses them, logs no error, and serves others.

``python -m benchmarks.mutations`` sends millions.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import StartDaemon
from tests.support.clients import Client, typed
from tests.support.databases import TestDatabase
from tests.support.diagrams import Diagram
from tests.support.mutated.attacker import Attacker
from tests.support.mutated.surfaces import Surface, Target, inputs
from tests.support.yjs_follower import Yjs

#: How many inputs each surface is sent.
COUNT = 150


#: How long the daemon may take to compact and to unload the documents, in seconds.
PATIENCE = 90.0


def attack(surface: Surface, target: Target, corpus: list[bytes]) -> Counter[str]:
    """Send the inputs; return how often there was which answer."""
    attacker = Attacker(surface, target, inputs(surface, target, corpus, f"test/{surface.value}", COUNT))
    # In a thread of its own, since the tests' may have an event loop.
    thread = threading.Thread(target=lambda: asyncio.run(attacker.run()), daemon=True)
    thread.start()
    thread.join()
    assert attacker.failures == []
    return attacker.answers


@pytest.fixture
def diagram(database: TestDatabase, start_daemon: StartDaemon, tmp_path: Path) -> Diagram:
    # A path of a unix socket has 107 bytes at most; coverage would take longer than the inputs.
    return Diagram(database, start_daemon, CONTROL_SOCKET=tmp_path / "c", COVERAGE_PROCESS_CONFIG="")


def test_mutated_inputs_to_every_surface_are_answered_without_an_error_in_the_log(
    diagram: Diagram, node_executable: str, node_path: Path, tmp_path: Path
) -> None:
    daemon, editor = diagram.daemon, diagram.editor
    target = Target(
        daemon.ws_port, daemon.health_port, str(tmp_path / "c"), diagram.room, (editor.token,), editor.cookie
    )
    bystanders = diagram.add_room("elsewhere").removeprefix("diagram-")
    with (
        Yjs(node_executable, node_path) as yjs,
        Client(daemon, bystanders, editor) as writer,
        Client(daemon, bystanders, diagram.owner) as reader,
    ):
        corpus = yjs.corpus()
        yjs.follow("follower", diagram.url, diagram.owner)
        for surface in Surface:
            answers = attack(surface, target, corpus)
            assert sum(answers.values()) - answers["not opened"] == COUNT, surface
            # On a busy machine more of them seem to be incomplete.
            assert set(answers) - {"incomplete", "not opened"}, surface
            writer.edit(typed(f"after {surface.value} "))
            reader.wait_for_update()
        yjs.follow("newcomer", diagram.url, diagram.owner)
        follower, newcomer = yjs.settle("follower"), yjs.settle("newcomer")
    assert (follower["failures"], newcomer["failures"]) == ([], [])
    assert newcomer["stateVector"] == follower["stateVector"]
    daemon.wait_until(lambda: daemon.get("/health")[1]["documents"] == 0, PATIENCE)
    assert [line for line in daemon.lines if not line.startswith("{")] == []
    assert [event for event in daemon.events() if event["level"] in ("error", "critical")] == []
