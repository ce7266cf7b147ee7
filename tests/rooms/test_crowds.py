"""Rooms with very many cursors: the next one gets in, sees all of them, is seen, and draws."""

from __future__ import annotations

import pytest

from tests.conftest import StartDaemon
from tests.support.databases import TestDatabase
from tests.support.diagrams import Diagram
from tests.support.hocuspocus_providers import PROVIDER_VERSIONS, Providers
from tests.support.sync_clients import AWARENESS, RawConnection, read_awareness
from tests.support.yjs_clients import VERSIONS

#: So many cursors are announced in one message.
AT_ONCE = 300


@pytest.fixture
def diagram(database: TestDatabase, start_daemon: StartDaemon) -> Diagram:
    """A diagram whose daemon lets one connection announce a crowd."""
    return Diagram(database, start_daemon, MAX_AWARENESS_CLIENTS=5000)


def announce(connection: RawConnection, people: int) -> None:
    """Show so many cursors, 80 bytes each."""
    for start in range(0, people, AT_ONCE):
        entries = [
            (
                1000 + number,
                1,
                {"user": {"name": f"Person {number:4}", "color": "#30bced"}, "cursor": {"x": 12, "y": 7}},
            )
            for number in range(start, min(start + AT_ONCE, people))
        ]
        connection.send_awareness(*entries)


@pytest.mark.parametrize(
    ("people", "version"),
    [*((900, version) for version in (*VERSIONS, *PROVIDER_VERSIONS)), (3000, "3.1.0"), (3000, "4.8.0")],
)
def test_the_next_one_gets_in(diagram: Diagram, providers: Providers, people: int, version: str) -> None:
    with diagram.connect(diagram.viewer) as crowd, diagram.connect(diagram.owner) as listener:
        announce(crowd, people)
        seen: set[int] = set()
        listener.receive_until(lambda message: seen.update(people_in(message)) or len(seen) == people)

        join = diagram.provide if version in PROVIDER_VERSIONS else diagram.join
        client = join(providers, "next", version=version)
        client.set_awareness({"next": "one"})
        listener.receive_until(lambda message: client.client_id in people_in(message))
        providers.wait("state", client, state={"people": people + 1})
        client.insert_text("text", 0, "drawn after that")

        listener.receive_until(lambda message: b"drawn after that" in message)
        assert client.report()["closes"] == []
        assert diagram.daemon.events("awareness dropped") == []


def people_in(message: bytes) -> list[int]:
    """Whom an awareness message shows something of."""
    entries = read_awareness(message) if message[0] == AWARENESS else []
    return [client_id for client_id, _, state in entries if state]
