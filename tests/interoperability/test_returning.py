"""Cursors after a connection was lost: real clients of every version see each other again at once."""

from __future__ import annotations

from typing import cast

import pytest

from tests.support.daemons import free_port
from tests.support.diagrams import Diagram
from tests.support.hocuspocus_providers import PROVIDER_VERSIONS, Providers
from tests.support.yjs_clients import VERSIONS, Version, YjsClient
from tests.support.yjs_values import Json

every_client = pytest.mark.parametrize("version", [*VERSIONS, *PROVIDER_VERSIONS])

#: So many seconds after everybody is back they see everybody; renewals come every 15 seconds only.
AT_ONCE = 1.0


class Company:
    """Two clients of one version, and two of other kinds, of two users; each shows something."""

    def __init__(self, diagram: Diagram, providers: Providers, version: str) -> None:
        self.providers = providers
        self.states: dict[str, Json] = {}
        users = {"first": diagram.editor, "second": diagram.owner, "third": diagram.editor, "fourth": diagram.owner}
        versions = {"first": version, "second": version, "third": "3.1.0", "fourth": "4.8.0"}
        self.clients: dict[str, YjsClient] = {}
        for name, user in users.items():
            if versions[name] in PROVIDER_VERSIONS:
                self.clients[name] = diagram.provide(providers, name, user, version=versions[name])
            else:
                self.clients[name] = diagram.join(providers, name, user, version=cast(Version, versions[name]))
            self.show(name, "from the beginning")

    def show(self, name: str, what: str) -> None:
        """One shows something else."""
        self.states[name] = {"name": name, "shows": what}
        self.clients[name].set_awareness(self.states[name])

    def expect_everybody_seen(self, timeout: float | None = None) -> None:
        """All see what all show."""
        states = list(self.states.values())
        self.providers.wait_awareness(*self.clients.values(), states=states, timeout=timeout)

    def expect_everybody_back(self, *names: str) -> None:
        """They have lost their connection and are back, and all see all at once; and what is shown next, too."""
        for name in names:
            self.clients[name].wait_closed(timeout=20)
        for name in names:
            self.clients[name].wait_synced(timeout=20)
        self.expect_everybody_seen(AT_ONCE)
        for what in ("something else", "one thing more"):
            for name in self.clients:
                self.show(name, what)
            self.expect_everybody_seen(AT_ONCE)


@every_client
def test_a_client_that_reconnects_sees_all_cursors_and_its_own_is_seen(
    diagram: Diagram, providers: Providers, version: str
) -> None:
    company = Company(diagram, providers, version)
    company.expect_everybody_seen()

    company.clients["first"].drop()

    company.expect_everybody_back("first")


@every_client
def test_cursors_are_seen_again_when_all_clients_reconnect(
    diagram: Diagram, providers: Providers, version: str
) -> None:
    company = Company(diagram, providers, version)
    company.expect_everybody_seen()

    for client in company.clients.values():
        client.drop()

    company.expect_everybody_back(*company.clients)


@every_client
def test_cursors_are_seen_again_when_the_daemon_was_restarted(
    diagram: Diagram, providers: Providers, version: str
) -> None:
    diagram.daemon.stop()
    port = free_port()
    diagram.start(WS_PORT=port)
    company = Company(diagram, providers, version)
    company.expect_everybody_seen()

    diagram.daemon.stop()
    diagram.start(WS_PORT=port)

    company.expect_everybody_back(*company.clients)


@every_client
def test_the_cursor_of_a_client_that_reconnects_repeatedly_is_seen_each_time(
    diagram: Diagram, providers: Providers, version: str
) -> None:
    company = Company(diagram, providers, version)
    company.expect_everybody_seen()

    for count in range(1, 4):
        company.clients["first"].drop()
        company.clients["first"].wait_closed(count)
        company.clients["first"].wait_synced()
        company.expect_everybody_seen(AT_ONCE)
