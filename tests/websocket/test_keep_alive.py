"""Clients that show nothing of themselves and hear of nobody: their own timers must not end their connection."""

from __future__ import annotations

import pytest

from tests.conftest import StartDaemon
from tests.support.databases import TestDatabase
from tests.support.diagrams import Diagram
from tests.support.hocuspocus_providers import PROVIDER_VERSIONS, Providers, ProviderVersion
from tests.support.sync_clients import AWARENESS, AwarenessEntry, read_awareness
from tests.support.yjs_clients import VERSIONS, Version

#: Of the daemon, in seconds; and after how many milliseconds without a message a provider gives its connection up.
PING_INTERVAL = 0.4
PATIENCE = 1500


@pytest.fixture
def diagram(database: TestDatabase, start_daemon: StartDaemon) -> Diagram:
    return Diagram(database, start_daemon, PING_INTERVAL=PING_INTERVAL)


@pytest.mark.parametrize("version", PROVIDER_VERSIONS)
def test_a_provider_that_hears_nothing_else_stays_beyond_its_own_patience(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    socket = diagram.socket(providers, "socket", version, messageReconnectTimeout=PATIENCE)
    provider = diagram.provide(providers, "idle", at=socket, version=version)
    provider.set_awareness(None)
    heard = len(provider.events("message"))
    often = int(3 * PATIENCE / 1000 / PING_INTERVAL)

    provider.wait_event("message", count=heard + often, timeout=30)

    socket.expect_never_closed()
    # That it is here, that it is not, and what comes back of that; no answer to what keeps it.
    said = [event["type"] for event in provider.events("outgoingMessage")]
    assert said.count(AWARENESS) < often / 2


@pytest.mark.parametrize("version", VERSIONS)
def test_a_y_websocket_client_hears_something_with_each_ping_and_says_nothing(
    diagram: Diagram, providers: Providers, version: Version
) -> None:
    with diagram.connect(diagram.owner) as other:
        client = diagram.join(providers, "idle", version=version)
        client.set_awareness(None)
        other.receive_until(lambda message: message[0] == AWARENESS and b"null" in message)
        heard = providers.call("report", name="idle")["awarenessMessages"]

        providers.wait("awarenessMessages", client, count=heard + 4)

        assert client.report()["closes"] == []
        # All that it says of itself is passed on.
        other.send_awareness((7, 1, {}))
        messages = other.receive_until(lambda message: message[0] == AWARENESS and b"{}" in message)
        assert {client_id for message in messages[:-1] for client_id, _, _ in shown_in(message)} <= {7}


def shown_in(message: bytes) -> list[AwarenessEntry]:
    return read_awareness(message) if message[0] == AWARENESS else []
