"""Awareness through the daemon: cursors are sent to all clients, and removed when their client has left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Protocol

import pytest

from canvas_collab.rooms.awareness import CLOCK_OFFSET
from tests.support.databases import User
from tests.support.diagrams import Diagram
from tests.support.sync_clients import AWARENESS, RawConnection, read_awareness
from tests.support.yjs_clients import VERSIONS, Version, YjsClients


class Enter(Protocol):
    """Opens a raw connection."""

    def __call__(self, user: User | None = None) -> RawConnection: ...


CURSOR = {"cursor": {"x": 10, "y": 20}}

#: The clock at which the first state of a client is broadcast, which it has sent at its own clock 1.
FIRST = 1 + CLOCK_OFFSET


@pytest.fixture
def enter(diagram: Diagram) -> Iterator[Enter]:
    """Opens raw connections, of the editor if no user is given; they are closed at the end of the test."""
    with ExitStack() as stack:

        def enter(user: User | None = None) -> RawConnection:
            return stack.enter_context(diagram.connect(user))

        yield enter


def states_until(connection: RawConnection, client_id: int, clock: int) -> list[tuple[int, int, Any]]:
    """All awareness states that a connection receives up to and with that clock of that client."""
    received: list[tuple[int, int, Any]] = []

    def is_there(message: bytes) -> bool:
        if message[0] == AWARENESS:
            received.extend(read_awareness(message))
        return any(entry[:2] == (client_id, clock) for entry in received)

    connection.receive_until(is_there)
    return received


def test_a_state_is_sent_back_to_its_sender_after_a_correction_of_its_clock(enter: Enter) -> None:
    sender = enter()

    sender.send_awareness((7, 1, CURSOR))

    assert sender.receive_awareness(7) == (7, FIRST - 1, None)
    assert sender.receive_awareness(7) == (7, FIRST, CURSOR)


def test_a_renewal_without_a_change_is_sent_back_too_as_that_keeps_a_connection_alive(enter: Enter) -> None:
    sender = enter()
    sender.send_awareness((7, 1, CURSOR))
    states_until(sender, 7, FIRST)

    sender.send_awareness((7, FIRST + 1, CURSOR))

    assert sender.receive_awareness(7) == (7, FIRST + 1, CURSOR)


def test_a_cursor_is_sent_to_all_and_to_a_client_that_joins_later_at_once(diagram: Diagram, enter: Enter) -> None:
    sender, listener = enter(), enter(diagram.owner)

    sender.send_awareness((7, 1, CURSOR))

    assert listener.receive_awareness(7) == (7, FIRST, CURSOR)
    # At a higher clock, as this client may know the other one from before.
    assert enter(diagram.viewer).receive_awareness(7) == (7, FIRST + 1, CURSOR)


def test_a_query_is_answered_with_all_present_states(diagram: Diagram, enter: Enter) -> None:
    first, second, querying = enter(), enter(), enter(diagram.viewer)
    first.send_awareness((7, 1, CURSOR))
    states_until(querying, 7, FIRST)
    second.send_awareness((8, 3, {"name": "second"}))
    states_until(querying, 8, 3 + CLOCK_OFFSET)

    querying.query_awareness()

    answer = querying.receive_until(lambda message: message[0] == AWARENESS)[-1]
    assert sorted(read_awareness(answer)) == [(7, FIRST, CURSOR), (8, 3 + CLOCK_OFFSET, {"name": "second"})]


def test_a_query_without_any_states_is_answered_too(enter: Enter) -> None:
    querying = enter()

    querying.query_awareness()

    assert read_awareness(querying.receive_until(lambda message: message[0] == AWARENESS)[-1]) == []


def test_a_cursor_is_removed_when_its_connection_ends(enter: Enter) -> None:
    sender, listener = enter(), enter()
    sender.send_awareness((7, 1, CURSOR))
    assert listener.receive_awareness(7) == (7, FIRST, CURSOR)

    sender.close()

    assert listener.receive_awareness(7) == (7, FIRST, None)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_cursor_of_a_client_whose_network_fails_is_removed_and_comes_back_with_it(
    diagram: Diagram, yjs: YjsClients, enter: Enter, version: Version
) -> None:
    listener = enter()
    client = diagram.join(yjs, "client", version=version)
    client.set_awareness(CURSOR)

    def next_clock(expected: object) -> int:
        """The clock at which the client is next received with that state."""
        while True:
            _, clock, state = listener.receive_awareness(client.client_id)
            if state == expected:
                return int(clock)

    # It may be sent once more at a higher clock, until the client has received its correction.
    present = next_clock(CURSOR)
    client.drop()
    removed = next_clock(None)
    assert removed >= present
    assert next_clock(CURSOR) > removed


@pytest.mark.parametrize("of", ["another user", "the same user"])
def test_a_connection_that_echoes_a_state_does_not_become_its_owner(diagram: Diagram, enter: Enter, of: str) -> None:
    user: User = diagram.owner if of == "another user" else diagram.editor
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


def test_an_echo_after_the_owner_has_left_does_not_restore_the_state(diagram: Diagram, enter: Enter) -> None:
    sender, echoing, listener = enter(), enter(), enter(diagram.viewer)
    sender.send_awareness((7, 1, CURSOR))
    echoing.receive_awareness(7)
    sender.close()
    listener.receive_awareness(7)
    assert listener.receive_awareness(7) == (7, FIRST, None)

    echoing.send_awareness((7, FIRST, CURSOR))
    echoing.send_awareness((8, 1, {}))

    assert states_until(listener, 8, FIRST) == [(8, FIRST, {})]


def test_a_client_cannot_change_or_remove_the_cursor_of_another_user(diagram: Diagram, enter: Enter) -> None:
    sender, other, listener = enter(diagram.editor), enter(diagram.owner), enter(diagram.viewer)
    sender.send_awareness((7, 1, CURSOR))
    listener.receive_awareness(7)

    other.send_awareness((7, FIRST + 9, {"cursor": "moved"}))
    other.send_awareness((7, FIRST + 9, None))
    other.send_awareness((8, 1, {}))

    assert states_until(listener, 8, FIRST) == [(8, FIRST, {})]


def test_a_cursor_stays_when_the_old_connection_of_its_client_ends(diagram: Diagram, enter: Enter) -> None:
    old, listener = enter(), enter(diagram.viewer)
    old.send_awareness((7, 1, CURSOR))
    assert listener.receive_awareness(7) == (7, FIRST, CURSOR)
    new = enter()
    new.send_awareness((7, FIRST, CURSOR))
    new.sync()

    old.close()
    diagram.daemon.wait_for_event("connection closed")
    new.send_awareness((8, 1, {}))

    assert states_until(listener, 8, FIRST) == [(8, FIRST, {})]
