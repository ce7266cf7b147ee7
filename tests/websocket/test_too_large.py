"""Messages over the size limit, sent by real clients."""

from __future__ import annotations

import pytest

from tests.conftest import StartDaemon
from tests.support.databases import TestDatabase
from tests.support.diagrams import Diagram
from tests.support.hocuspocus_client import RawHocuspocus
from tests.support.hocuspocus_providers import PROVIDER_VERSIONS, Providers, ProviderVersion
from tests.support.yjs_clients import VERSIONS, Version

SIZE = 65536


@pytest.fixture
def diagram(database: TestDatabase, start_daemon: StartDaemon) -> Diagram:
    return Diagram(database, start_daemon, MAX_MESSAGE_SIZE=SIZE, MAX_PENDING_SIZE=SIZE // 2)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_newest_y_websocket_does_not_send_a_message_again_that_is_too_large(
    diagram: Diagram, providers: Providers, version: Version
) -> None:
    client = diagram.join(providers, "ada", version=version)
    client.insert_text("text", 0, "x" * SIZE)
    assert client.wait_closed() == (4413, f"a message may have {SIZE} bytes")
    if version == "3.1.0":
        assert client.wait_given_up()[0] == 4413
        assert len(diagram.daemon.events("connection opened")) == 1
    else:
        # Older versions reconnect on every close code.
        client.wait_closed(2)
    assert diagram.log() == []


@pytest.mark.parametrize("version", PROVIDER_VERSIONS)
def test_providers_before_3_do_not_send_a_message_again_that_is_too_large(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    provider = diagram.provide(providers, "ada", version=version)
    provider.insert_text("text", 0, "x" * SIZE)
    assert provider.wait_closed() == (1009, f"a message may have {SIZE} bytes")
    if version < "3":
        provider.wait_state(status="disconnected")
        assert len(diagram.daemon.events("connection opened")) == 1
    else:
        provider.wait_closed(2)
    assert diagram.log() == []


def test_the_size_limit_is_lower_before_a_document_is_open(diagram: Diagram) -> None:
    with RawHocuspocus(diagram.daemon) as socket:
        socket.send(diagram.room, b"x" * SIZE)
        closed = socket.wait_closed()
        assert (closed.code, "before a document is open" in closed.reason) == (4413, True)
