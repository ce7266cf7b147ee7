"""Keep-alive of clients without awareness state, whose own timers would close a silent connection."""

from __future__ import annotations

import pytest

from tests.conftest import StartDaemon
from tests.support.databases import TestDatabase
from tests.support.diagrams import Diagram
from tests.support.hocuspocus_providers import PROVIDER_VERSIONS, Providers, ProviderVersion
from tests.support.sync_clients import AWARENESS, AwarenessEntry, read_awareness
from tests.support.yjs_clients import VERSIONS, Version

#: The daemon's setting, in seconds.
PING_INTERVAL = 0.4

#: After how many milliseconds without a message a provider reconnects.
RECONNECT_TIMEOUT = 1500


@pytest.fixture
def diagram(database: TestDatabase, start_daemon: StartDaemon) -> Diagram:
    return Diagram(database, start_daemon, PING_INTERVAL=PING_INTERVAL)


@pytest.mark.parametrize("version", PROVIDER_VERSIONS)
def test_a_provider_that_receives_nothing_else_stays_connected_beyond_its_own_timeout(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    socket = diagram.socket(providers, "socket", version, messageReconnectTimeout=RECONNECT_TIMEOUT)
    provider = diagram.provide(providers, "idle", at=socket, version=version)
    provider.set_awareness(None)
    heard = len(provider.events("message"))
    messages = int(3 * RECONNECT_TIMEOUT / 1000 / PING_INTERVAL)

    provider.wait_event("message", count=heard + messages, timeout=30)

    socket.expect_never_closed()
    # The state, its removal and the echo of that; no answer to the keep-alives.
    sent = [event["type"] for event in provider.events("outgoingMessage")]
    assert sent.count(AWARENESS) < messages / 2


@pytest.mark.parametrize("version", VERSIONS)
def test_a_y_websocket_client_receives_a_message_with_each_ping_and_does_not_answer_it(
    diagram: Diagram, providers: Providers, version: Version
) -> None:
    with diagram.connect(diagram.owner) as other:
        client = diagram.join(providers, "idle", version=version)
        client.set_awareness(None)
        other.receive_until(lambda message: message[0] == AWARENESS and b"null" in message)
        heard = providers.call("report", name="idle")["awarenessMessages"]

        providers.wait("awarenessMessages", client, count=heard + 4)

        assert client.report()["closes"] == []
        # The other client would receive any awareness update of the first.
        other.send_awareness((7, 1, {}))
        messages = other.receive_until(lambda message: message[0] == AWARENESS and b"{}" in message)
        assert {client_id for message in messages[:-1] for client_id, _, _ in entries_of(message)} <= {7}


def entries_of(message: bytes) -> list[AwarenessEntry]:
    return read_awareness(message) if message[0] == AWARENESS else []
