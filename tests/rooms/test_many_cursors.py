"""Rooms with very many cursors: another client joins, is sent all of them, shows its own, and edits."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import StartDaemon
from tests.support.databases import TestDatabase
from tests.support.diagrams import Diagram
from tests.support.hocuspocus_providers import PROVIDER_VERSIONS, Providers
from tests.support.sync_clients import AWARENESS, RawConnection, read_awareness
from tests.support.yjs_clients import VERSIONS, YjsClient

#: How many cursors are announced in one message.
CURSORS_PER_MESSAGE = 300


@pytest.fixture
def diagram(database: TestDatabase, start_daemon: StartDaemon) -> Diagram:
    """A diagram whose daemon lets one connection announce thousands of cursors."""
    return Diagram(database, start_daemon, MAX_AWARENESS_CLIENTS=5000)


def announce(connection: RawConnection, people: int) -> None:
    """Send this many cursors, of 80 bytes each."""
    for start in range(0, people, CURSORS_PER_MESSAGE):
        entries = [
            (
                1000 + number,
                1,
                {"user": {"name": f"Person {number:4}", "color": "#30bced"}, "cursor": {"x": 12, "y": 7}},
            )
            for number in range(start, min(start + CURSORS_PER_MESSAGE, people))
        ]
        connection.send_awareness(*entries)


@pytest.mark.parametrize(
    ("people", "version"),
    [*((900, version) for version in (*VERSIONS, *PROVIDER_VERSIONS)), (3000, "3.1.0"), (3000, "4.8.0")],
)
def test_another_client_joins_and_edits(diagram: Diagram, providers: Providers, people: int, version: str) -> None:
    with diagram.connect(diagram.viewer) as crowd, diagram.connect(diagram.owner) as listener:
        announce(crowd, people)
        seen: set[int] = set()

        def are_all_seen(message: bytes) -> bool:
            seen.update(people_in(message))
            return len(seen) == people

        listener.receive_until(are_all_seen)

        join: Callable[..., YjsClient] = diagram.provide if version in PROVIDER_VERSIONS else diagram.join
        client = join(providers, "next", version=version)
        client.set_awareness({"next": "one"})
        listener.receive_until(lambda message: client.client_id in people_in(message))
        providers.wait("state", client, state={"people": people + 1})
        client.insert_text("text", 0, "drawn after that")

        listener.receive_until(lambda message: b"drawn after that" in message)
        assert client.report()["closes"] == []
        assert diagram.daemon.events("awareness dropped") == []


def people_in(message: bytes) -> list[int]:
    """The client ids with a state in a message."""
    entries = read_awareness(message) if message[0] == AWARENESS else []
    return [client_id for client_id, _, state in entries if state]
