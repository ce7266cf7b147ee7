"""Clients of every version see each other's cursors at once after they have reconnected."""

from __future__ import annotations

from typing import cast

import pytest

from tests.support.daemons import free_port
from tests.support.diagrams import Diagram
from tests.support.hocuspocus_providers import PROVIDER_VERSIONS, Providers
from tests.support.yjs_clients import VERSIONS, Version, YjsClient
from tests.support.yjs_values import Json

every_client = pytest.mark.parametrize("version", [*VERSIONS, *PROVIDER_VERSIONS])

#: How long it may take after all are connected, in seconds; clients renew their awareness only every 15 seconds.
AT_ONCE = 1.0


class FourClients:
    """Two clients of one version, and one of y-websocket and of Hocuspocus, of two users, each with a cursor."""

    def __init__(self, diagram: Diagram, providers: Providers, version: str) -> None:
        self.providers = providers
        self.states: dict[str, Json] = {}
        users = {"first": diagram.editor, "second": diagram.owner, "third": diagram.editor, "fourth": diagram.owner}
        versions = {"first": version, "second": version, "third": "3.1.0", "fourth": "4.8.0"}
        self.by_name: dict[str, YjsClient] = {}
        for name, user in users.items():
            if versions[name] in PROVIDER_VERSIONS:
                self.by_name[name] = diagram.provide(providers, name, user, version=versions[name])
            else:
                self.by_name[name] = diagram.join(providers, name, user, version=cast(Version, versions[name]))
            self.show(name, "from the beginning")

    def show(self, name: str, what: str) -> None:
        """Change the awareness of a client."""
        self.states[name] = {"name": name, "shows": what}
        self.by_name[name].set_awareness(self.states[name])

    def expect_all_seen(self, timeout: float | None = None) -> None:
        """Wait until all see the awareness of all."""
        states = list(self.states.values())
        self.providers.wait_awareness(*self.by_name.values(), states=states, timeout=timeout)

    def expect_reconnected(self, *names: str) -> None:
        """Wait until these clients have reconnected; then all must see all at once, and what changes after that."""
        for name in names:
            self.by_name[name].wait_closed(timeout=20)
        for name in names:
            self.by_name[name].wait_synced(timeout=20)
        self.expect_all_seen(AT_ONCE)
        for what in ("something else", "one thing more"):
            for name in self.by_name:
                self.show(name, what)
            self.expect_all_seen(AT_ONCE)


@every_client
def test_a_client_that_reconnects_sees_all_cursors_and_its_own_is_seen(
    diagram: Diagram, providers: Providers, version: str
) -> None:
    clients = FourClients(diagram, providers, version)
    clients.expect_all_seen()

    clients.by_name["first"].drop()

    clients.expect_reconnected("first")


@every_client
def test_cursors_are_seen_again_when_all_clients_reconnect(
    diagram: Diagram, providers: Providers, version: str
) -> None:
    clients = FourClients(diagram, providers, version)
    clients.expect_all_seen()

    for client in clients.by_name.values():
        client.drop()

    clients.expect_reconnected(*clients.by_name)


@every_client
def test_cursors_are_seen_again_when_the_daemon_was_restarted(
    diagram: Diagram, providers: Providers, version: str
) -> None:
    diagram.daemon.stop()
    port = free_port()
    diagram.start(WS_PORT=port)
    clients = FourClients(diagram, providers, version)
    clients.expect_all_seen()

    diagram.daemon.stop()
    diagram.start(WS_PORT=port)

    clients.expect_reconnected(*clients.by_name)


@every_client
def test_the_cursor_of_a_client_that_reconnects_repeatedly_is_seen_each_time(
    diagram: Diagram, providers: Providers, version: str
) -> None:
    clients = FourClients(diagram, providers, version)
    clients.expect_all_seen()

    for count in range(1, 4):
        clients.by_name["first"].drop()
        clients.by_name["first"].wait_closed(count)
        clients.by_name["first"].wait_synced()
        clients.expect_all_seen(AT_ONCE)
