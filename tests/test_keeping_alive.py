"""Clients that show nothing of themselves and hear of nobody: their own timers must not end their connection."""

from __future__ import annotations

import pytest

from canvas_collab.protocol import awareness, sync
from tests.conftest import StartDaemon
from tests.diagrams import Diagram
from tests.harness.databases import TestDatabase
from tests.hocuspocus_providers import PROVIDER_VERSIONS, Providers, ProviderVersion
from tests.yjs_clients import VERSIONS, Version

AWARENESS = 1
NOTHING = sync.encode_awareness(awareness.NOBODY)

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

    provider.wait_heard("message", count=heard + int(3 * PATIENCE / 1000 / PING_INTERVAL), timeout=30)

    socket.expect_undisturbed()
    said = [event["type"] for event in provider.events("outgoingMessage")]
    # That it is here, from which clock on, and that it is not.
    assert said.count(AWARENESS) <= 3


@pytest.mark.parametrize("version", VERSIONS)
def test_a_y_websocket_client_hears_something_with_each_ping_and_says_nothing(
    diagram: Diagram, providers: Providers, version: Version
) -> None:
    with diagram.connect(diagram.owner) as other:
        client = diagram.join(providers, "idle", version=version)
        client.set_awareness(None)
        heard = providers.call("report", name="idle")["awarenessMessages"]

        providers.wait("awarenessMessages", client, count=heard + 4)

        assert client.report()["closes"] == []
        # What it says is passed on: nothing since it left.
        other.send_awareness((7, 1, {}))
        messages = other.receive_until(lambda message: message[0] == AWARENESS and b"{}" in message)
        assert messages.count(NOTHING) > 0
