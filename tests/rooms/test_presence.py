"""Awareness: who is in a room and where their cursor is, seen by everybody, and gone when they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from canvas_collab.document.document import Document
from canvas_collab.protocol import awareness, sync
from canvas_collab.protocol.awareness import Entry
from canvas_collab.rooms.awareness import CLOCK_OFFSET, STALE_AFTER, Awareness
from canvas_collab.rooms.pacing import FlushPacer
from canvas_collab.rooms.prepared_message import PreparedMessage
from canvas_collab.rooms.room import Room
from tests.conftest import StartDaemon
from tests.support.databases import TestDatabase, User
from tests.support.diagrams import Diagram
from tests.support.sync_clients import AWARENESS, RawConnection, awareness_message, read_awareness
from tests.support.yjs_clients import VERSIONS, Version, YjsClients

CURSOR = {"cursor": {"x": 10, "y": 20}}

#: The clock at which the others hear what a client says first, at its own clock 1.
FIRST = 1 + CLOCK_OFFSET


@pytest.fixture
def diagram(database: TestDatabase, start_daemon: StartDaemon) -> Diagram:
    return Diagram(database, start_daemon)


@pytest.fixture
def yjs(node_executable: str, node_path: Path) -> Iterator[YjsClients]:
    with YjsClients(node_executable, node_path) as clients:
        yield clients


@pytest.fixture
def enter(diagram: Diagram) -> Iterator[Any]:
    """Makes connections that speak bytes and are closed at the end of the test."""
    with ExitStack() as stack:
        yield lambda user=None: stack.enter_context(diagram.connect(user))


def said_until(connection: RawConnection, client_id: int, clock: int) -> list[tuple[int, int, Any]]:
    """All that a connection hears of awareness up to and with that clock of that client, echoes of it left out."""
    heard: list[tuple[int, int, Any]] = []

    def is_there(message: bytes) -> bool:
        if message[0] == AWARENESS:
            heard.extend(read_awareness(message))
        return any(entry[:2] == (client_id, clock) for entry in heard)

    connection.receive_until(is_there)
    return heard


def test_awareness_is_echoed_to_its_sender_after_the_clock_to_go_on_from(enter: Any) -> None:
    sender = enter()

    sender.send_awareness((7, 1, CURSOR))

    assert sender.receive_awareness(7) == (7, FIRST - 1, None)
    assert sender.receive_awareness(7) == (7, FIRST, CURSOR)


def test_a_renewal_without_a_change_is_echoed_too_as_that_keeps_a_connection_alive(enter: Any) -> None:
    sender = enter()
    sender.send_awareness((7, 1, CURSOR))
    said_until(sender, 7, FIRST)

    sender.send_awareness((7, FIRST + 1, CURSOR))

    assert sender.receive_awareness(7) == (7, FIRST + 1, CURSOR)


def test_everybody_hears_of_a_cursor_and_who_comes_later_is_told_at_once(diagram: Diagram, enter: Any) -> None:
    sender, listener = enter(), enter(diagram.owner)

    sender.send_awareness((7, 1, CURSOR))

    assert listener.receive_awareness(7) == (7, FIRST, CURSOR)
    # At a clock of its own, as it may have been here before.
    assert enter(diagram.viewer).receive_awareness(7) == (7, FIRST + 1, CURSOR)


def test_a_query_is_answered_with_all_who_are_present(diagram: Diagram, enter: Any) -> None:
    first, second, asking = enter(), enter(), enter(diagram.viewer)
    first.send_awareness((7, 1, CURSOR))
    said_until(asking, 7, FIRST)
    second.send_awareness((8, 3, {"name": "second"}))
    said_until(asking, 8, 3 + CLOCK_OFFSET)

    asking.query_awareness()

    answer = asking.receive_until(lambda message: message[0] == AWARENESS)[-1]
    assert sorted(read_awareness(answer)) == [(7, FIRST, CURSOR), (8, 3 + CLOCK_OFFSET, {"name": "second"})]


def test_a_query_in_an_empty_room_is_answered_too(enter: Any) -> None:
    asking = enter()

    asking.query_awareness()

    assert read_awareness(asking.receive_until(lambda message: message[0] == AWARENESS)[-1]) == []


def test_a_cursor_goes_when_its_connection_ends(enter: Any) -> None:
    sender, listener = enter(), enter()
    sender.send_awareness((7, 1, CURSOR))
    assert listener.receive_awareness(7) == (7, FIRST, CURSOR)

    sender.close()

    assert listener.receive_awareness(7) == (7, FIRST, None)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_cursor_of_a_client_whose_network_fails_goes_and_comes_back_with_it(
    diagram: Diagram, yjs: YjsClients, enter: Any, version: Version
) -> None:
    listener = enter()
    client = diagram.join(yjs, "client", version=version)
    client.set_awareness(CURSOR)

    def hear(state: object) -> int:
        """The clock at which the client is heard of with that state, the next time that it is."""
        while True:
            _, clock, shown = listener.receive_awareness(client.client_id)
            if shown == state:
                return int(clock)

    # It may be shown once more at a higher clock, until it has heard at which one it is.
    shown = hear(CURSOR)
    client.drop()
    gone = hear(None)
    assert gone >= shown
    assert hear(CURSOR) > gone


@pytest.mark.parametrize("who", ["another user", "the same user"])
def test_who_re_sends_somebodys_awareness_does_not_come_to_own_it(diagram: Diagram, enter: Any, who: str) -> None:
    user: User = diagram.owner if who == "another user" else diagram.editor
    sender, echoing, listener = enter(diagram.editor), enter(user), enter(diagram.viewer)
    sender.send_awareness((7, 1, CURSOR))
    assert echoing.receive_awareness(7) == (7, FIRST, CURSOR)
    assert listener.receive_awareness(7) == (7, FIRST, CURSOR)

    echoing.send_awareness((7, FIRST, CURSOR))
    echoing.sync()
    echoing.close()
    sender.send_awareness((7, FIRST + 1, CURSOR))
    assert listener.receive_awareness(7) == (7, FIRST + 1, CURSOR)

    sender.close()
    assert listener.receive_awareness(7) == (7, FIRST + 1, None)


def test_what_is_re_sent_after_its_owner_has_left_brings_nobody_back(diagram: Diagram, enter: Any) -> None:
    sender, echoing, listener = enter(), enter(), enter(diagram.viewer)
    sender.send_awareness((7, 1, CURSOR))
    echoing.receive_awareness(7)
    sender.close()
    listener.receive_awareness(7)
    assert listener.receive_awareness(7) == (7, FIRST, None)

    echoing.send_awareness((7, FIRST, CURSOR))
    echoing.send_awareness((8, 1, {}))

    assert said_until(listener, 8, FIRST) == [(8, FIRST, {})]


def test_nobody_can_move_or_remove_the_cursor_of_another_user(diagram: Diagram, enter: Any) -> None:
    sender, other, listener = enter(diagram.editor), enter(diagram.owner), enter(diagram.viewer)
    sender.send_awareness((7, 1, CURSOR))
    listener.receive_awareness(7)

    other.send_awareness((7, FIRST + 9, {"cursor": "moved"}))
    other.send_awareness((7, FIRST + 9, None))
    other.send_awareness((8, 1, {}))

    assert said_until(listener, 8, FIRST) == [(8, FIRST, {})]


def test_a_client_that_is_back_on_a_new_connection_stays_when_the_old_one_ends(diagram: Diagram, enter: Any) -> None:
    old, listener = enter(), enter(diagram.viewer)
    old.send_awareness((7, 1, CURSOR))
    assert listener.receive_awareness(7) == (7, FIRST, CURSOR)
    new = enter()
    new.send_awareness((7, FIRST, CURSOR))
    new.sync()

    old.close()
    diagram.daemon.wait_for_event("connection closed")
    new.send_awareness((8, 1, {}))

    assert said_until(listener, 8, FIRST) == [(8, FIRST, {})]


class Listener:
    """Somebody in a room who writes down what the room sends."""

    user_id = "listener"

    def __init__(self) -> None:
        self.heard: list[tuple[int, int, Any]] = []

    def offer(self, message: PreparedMessage) -> bool:
        self.heard.extend(read_awareness(message.payload))
        return True

    def close(self, code: object, reason: str) -> None:
        raise AssertionError(f"closed with {code}: {reason}")


def test_an_entry_that_was_not_renewed_is_taken_out_and_counts_again_once_it_is() -> None:
    clock = Clock()
    room = Room[Listener](
        clock,
        "diagram-sketch",
        Document(),
        Awareness(32),
        FlushPacer(0.5, 0.04),
        FlushPacer(0.5, 0.04),
        lambda *_update: None,
    )
    sender, listener = Listener(), Listener()
    room.join(sender)
    room.join(listener)
    entry = awareness_message([(7, 4, CURSOR)])
    room.announce(room.show(sender, decoded(entry)).news)

    clock.advance(STALE_AFTER - 1)
    room.expire()
    clock.advance(1)
    assert listener.heard == [(7, 4 + CLOCK_OFFSET, CURSOR)]

    room.expire()
    clock.advance(1)
    assert listener.heard[1:] == [(7, 4 + CLOCK_OFFSET, None)]

    room.announce(room.show(sender, decoded(awareness_message([(7, 5 + CLOCK_OFFSET, CURSOR)]))).news)
    clock.advance(1)
    assert listener.heard[2:] == [(7, 5 + CLOCK_OFFSET, CURSOR)]


def decoded(message: bytes) -> list[Entry]:
    update = sync.decode(message)
    assert isinstance(update, sync.AwarenessUpdate)
    return awareness.decode(update.payload)
