"""A restart under load, with the listening socket kept by systemd: clients come back at once, and nothing is lost."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator

import pytest

from tests.support.daemons import Daemon, daemon_environment
from tests.support.databases import TestDatabase
from tests.support.diagrams import Diagram, headers_of
from tests.support.hocuspocus_providers import Providers

CLIENTS = 50

#: How long all clients may take to be synced again, in seconds; far more than is measured, since the
#: machine may be busy.
PATIENCE = 15.0

SYSTEMD = ("--ws-endpoint", "systemd:domain=INET:index=0")


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """The socket that systemd would hold."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        yield listening


def test_fifty_clients_that_edit_during_a_restart_see_only_1012_and_lose_nothing(
    database: TestDatabase, providers: Providers, listening: socket.socket
) -> None:
    port = listening.getsockname()[1]
    daemons: list[Daemon] = []

    def start(database: TestDatabase, **settings: object) -> Daemon:
        environment = {**daemon_environment(database, **settings), "WS_PORT": str(port)}
        daemon = Daemon(environment, SYSTEMD, listening=listening.fileno())
        daemons.append(daemon)
        return daemon

    try:
        diagram = Diagram(database, start)
        diagram.daemon.wait_until_ready()
        headers = headers_of(diagram.editor)
        clients = [
            providers.connect(f"client {number}", diagram.daemon.ws_url, diagram.room, headers=headers)
            for number in range(CLIENTS)
        ]
        for number, client in enumerate(clients):
            client.set_key("map", f"before {number}", number)
        old = diagram.daemon
        began = time.monotonic()
        old.process.terminate()
        for number, client in enumerate(clients):
            client.set_key("map", f"during {number}", number)
        old.stop()
        diagram.start().wait_until_ready()
        for number, client in enumerate(clients):
            client.set_key("map", f"after {number}", number)
        providers.wait_converged(*clients, timeout=PATIENCE)
        print(f"all {CLIENTS} clients have everything again {time.monotonic() - began:.2f} s after the signal")
        expected = {f"{when} {number}": number for when in ("before", "during", "after") for number in range(CLIENTS)}
        assert clients[0].content["map"] == expected
        codes = {close["code"] for client in clients for close in client.report()["closes"]}
        assert codes == {1012}
        assert all(not client.report()["refusals"] for client in clients)
        diagram.daemon.wait_until(lambda: diagram.daemon.get("/health")[1]["unsaved_updates"] == 0)
    finally:
        for daemon in daemons:
            daemon.stop()
    assert os.fstat(listening.fileno())
