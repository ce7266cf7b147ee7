"""Two daemons on one bus: what happens in a room on one is seen on the other, before it is committed."""

from __future__ import annotations

import socket

import pytest

from canvas_collab.protocol.lib0 import encode_var_string
from tests.support.clients import Client, typed
from tests.support.commands import run
from tests.support.daemon_pair import DaemonPair, received_states, send_state, wait_for_state
from tests.support.hocuspocus_client import RawHocuspocus

NAME = '{"name":"ada"}'


@pytest.fixture
def pair(shared_pair: DaemonPair) -> DaemonPair:
    """The daemons of all tests of this file."""
    return shared_pair


@pytest.fixture
def diagram(pair: DaemonPair) -> str:
    """A diagram of this test."""
    return pair.new_diagram()


def test_an_edit_arrives_before_it_is_committed(pair: DaemonPair, diagram: str) -> None:
    with Client(pair.left, diagram, pair.ada) as here, Client(pair.right, diagram, pair.bob) as there:
        here.edit(typed("drawn"))
        there.wait_for("drawn")
        assert pair.committed(diagram) == 0
        pair.left.wait_until(lambda: pair.committed(diagram) == 1)


def test_a_client_that_joins_gets_what_the_other_daemon_has_not_committed(pair: DaemonPair, diagram: str) -> None:
    with Client(pair.left, diagram, pair.ada) as here:
        here.edit(typed("drawn"))
        here.flush()
        with Client(pair.right, diagram, pair.bob) as there:
            assert there.text == "drawn"
            assert pair.committed(diagram) == 0


def test_awareness_states_are_shown_on_the_other_daemon_until_the_client_leaves(pair: DaemonPair, diagram: str) -> None:
    with Client(pair.right, diagram, pair.bob) as there:
        with Client(pair.left, diagram, pair.ada) as here:
            send_state(here, 7, 1, NAME)
            shown = wait_for_state(there, 7, NAME)
            assert wait_for_state(here, 7, NAME).clock == shown.clock
        assert wait_for_state(there, 7, "null").clock >= shown.clock


def test_a_client_that_joins_is_sent_states_of_the_other_daemon_at_clocks_that_it_cannot_know(
    pair: DaemonPair, diagram: str
) -> None:
    with Client(pair.left, diagram, pair.ada) as here:
        send_state(here, 7, 1, NAME)
        with Client(pair.right, diagram, pair.bob) as there:
            known = wait_for_state(there, 7, NAME).clock
            with Client(pair.right, diagram, pair.bob) as another:
                wait_for_state(another, 7, NAME, above=known)


def test_a_client_that_moves_to_the_other_daemon_is_shown_all_the_time(pair: DaemonPair, diagram: str) -> None:
    with Client(pair.left, diagram, pair.bob) as left, Client(pair.right, diagram, pair.bob) as right:
        here = Client(pair.left, diagram, pair.ada)
        send_state(here, 7, 1, '{"at":1}')
        clock = wait_for_state(right, 7, '{"at":1}').clock
        with Client(pair.right, diagram, pair.ada) as there:
            send_state(there, 7, clock, '{"at":2}')
            wait_for_state(left, 7, '{"at":2}')
            here.close()
            send_state(there, 7, clock + 8, '{"at":3}')
            for watcher in (left, right):
                wait_for_state(watcher, 7, '{"at":3}')
                assert "null" not in {entry.state for entry in received_states(watcher, 7)}


def test_stateless_messages_reach_clients_of_the_other_daemon_once(pair: DaemonPair, diagram: str) -> None:
    room = f"diagram-{diagram}"
    with RawHocuspocus(pair.left) as here, RawHocuspocus(pair.right) as there:
        here.open(room, pair.ada.token)
        there.open(room, pair.bob.token)
        message = b"\x05" + encode_var_string("hello")
        here.send(room, message)
        there.wait_for(room, message)
        for side in (here, there):
            side.ping()
            assert side.heard(room, message) == []


def test_kicking_closes_connections_to_all_daemons(pair: DaemonPair, diagram: str) -> None:
    with Client(pair.right, diagram, pair.bob) as there:
        assert run("kick", pair.bob.id, "--socket", pair.control_socket).returncode == 0
        assert there.wait_for_close() == (4403, "closed by an operator")


def test_messages_of_others_on_the_bus_are_ignored(pair: DaemonPair, diagram: str) -> None:
    with Client(pair.left, diagram, pair.ada) as here, Client(pair.right, diagram, pair.bob) as there:
        with socket.create_connection(("127.0.0.1", pair.valkey.port)) as intruder:
            intruder.sendall(b"PUBSUB CHANNELS *\r\n")
            channels = [line for line in intruder.recv(10_000).split(b"\r\n") if line.startswith(b"canvas-collab:")]
            assert len(channels) >= 2
            for channel in channels:
                intruder.sendall(b'PUBLISH %s "garbage"\r\n' % channel)
                intruder.sendall(b'PUBLISH %s "\\x01%s"\r\n' % (channel, b"\\x00" * 60))
        pair.right.wait_for_event("bus message ignored")
        here.edit(typed("fine"))
        there.wait_for("fine")
    for daemon in (pair.left, pair.right):
        assert [event for event in daemon.events() if event["level"] in ("error", "critical")] == []
