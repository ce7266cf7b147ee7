"""Daemons that die, and a bus that is away: nothing is lost, and nobody is shown who is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import StartDaemon
from tests.support.clients import Client, typed
from tests.support.daemon_pair import DaemonPair, send_state, wait_for_state
from tests.support.databases import TestDatabase
from tests.support.valkey_process import ValkeyProcess

NAME = '{"name":"ada"}'


@pytest.fixture
def diagram(pair: DaemonPair) -> str:
    """A diagram of this test."""
    return pair.new_diagram()


def test_the_clients_of_a_daemon_that_dies_leave_and_its_edits_are_committed(
    pair: DaemonPair, diagram: str, start_daemon: StartDaemon
) -> None:
    with Client(pair.right, diagram, pair.bob) as there:
        with Client(pair.left, diagram, pair.ada) as here:
            send_state(here, 7, 1, NAME)
            here.edit(typed("drawn"))
            wait_for_state(there, 7, NAME)
            there.wait_for("drawn")
            pair.left.kill()
        wait_for_state(there, 7, "null")
        assert "not heard" in pair.right.wait_for_event("daemon left")["reason"]
    # The room is unloaded, and the other daemon cannot commit the edit any more.
    pair.right.wait_for_event("edit adopted", user=pair.ada.id)
    pair.right.stop()
    assert pair.committed(diagram) == 1
    with Client(start_daemon(pair.database), diagram, pair.ada) as again:
        assert again.text == "drawn"


def test_an_edit_is_not_committed_twice_while_its_daemon_runs(pair: DaemonPair, diagram: str) -> None:
    with Client(pair.left, diagram, pair.ada) as here, Client(pair.right, diagram, pair.bob) as there:
        here.edit(typed("drawn"))
        there.wait_for("drawn")
    pair.left.stop()
    pair.right.stop()
    assert pair.committed(diagram) == 1
    assert pair.right.events("edit adopted") == []
    [left] = pair.right.events("daemon left")
    assert left["reason"] == "it was stopped"


def test_without_the_bus_edits_arrive_through_the_log_and_with_it_again_awareness_does(
    pair: DaemonPair, diagram: str
) -> None:
    with Client(pair.left, diagram, pair.ada) as here, Client(pair.right, diagram, pair.bob) as there:
        pair.valkey.stop()
        for daemon in (pair.left, pair.right):
            daemon.wait_for_event("bus lost")
            report = daemon.get("/health")[1]
            assert not report["bus"]["ok"]
            assert report["status"] == "ok"
        here.edit(typed("meanwhile"))
        there.wait_for("meanwhile")
        send_state(here, 7, 1, NAME)
        here.flush()
        pair.valkey.start()
        wait_for_state(there, 7, NAME)
        pair.left.wait_until(lambda: pair.left.get("/health")[1]["bus"]["ok"])
        # One that no longer answers counts as lost, too.
        lost = len(pair.left.events("bus lost"))
        pair.valkey.pause()
        try:
            pair.left.wait_until(lambda: len(pair.left.events("bus lost")) > lost, 20)
        finally:
            pair.valkey.resume()
        pair.left.wait_until(lambda: pair.left.get("/health")[1]["bus"]["ok"])


def test_a_daemon_without_the_bus_serves_and_names_why(
    database: TestDatabase, tmp_path: Path, start_daemon: StartDaemon
) -> None:
    valkey = ValkeyProcess(tmp_path, "--requirepass", "right")
    try:
        daemon = start_daemon(database, BUS_URL=f"redis://:mistaken@127.0.0.1:{valkey.port}")
        reason = daemon.wait_for_event("bus lost")["reason"]
        assert "auth" in reason
        assert "mistaken" not in daemon.output
        owner = database.add_user("ada")
        database.add_diagram("one", owner)
        with Client(daemon, "one", owner) as client:
            client.edit(typed("alone"))
            client.flush()
    finally:
        valkey.stop()
