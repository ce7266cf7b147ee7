"""Large documents on slow lines: clients of all versions are sent parts, and are synced only when they have everything.

Clients close a connection on which they receive no whole message for 30 seconds, so no message may be large.  That they
are not cut on a real line is shown by ``python -m benchmarks.slow_lines``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Doc, Map

from canvas_collab.protocol import sync
from tests.conftest import StartDaemon
from tests.support.clients import Client
from tests.support.databases import TestDatabase
from tests.support.diagrams import Diagram, headers_of
from tests.support.hocuspocus_providers import PROVIDER_VERSIONS, Providers
from tests.support.slow_line import SlowLine
from tests.support.yjs_clients import VERSIONS, YjsClient

#: In bytes, and bytes per second.
DOCUMENT, RATE = 400_000, 100_000

PART_SIZE = 32768


@pytest.fixture
def diagram(database: TestDatabase, start_daemon: StartDaemon) -> Diagram:
    return Diagram(database, start_daemon, SYNC_PART_SIZE=PART_SIZE)


@pytest.fixture
def clients(node_executable: str, node_path: Path) -> Iterator[Providers]:
    """A Node process whose clients may take long."""
    with Providers(node_executable, node_path, timeout=60) as clients:
        yield clients


def shapes_of_two(size: int) -> bytes:
    """A document of `size` bytes that two people have drawn in turn, each changing the other's shapes."""
    docs = [Doc[Any](client_id=number) for number in (1, 2)]
    for doc in docs:
        doc["map"] = Map()
    turn = count = 0
    while len(docs[turn].get_update()) < size:
        doc, other = docs[turn], docs[1 - turn]
        before = doc.get_state()
        with doc.transaction():
            for number in range(count, count + 20):
                doc["map"][f"shape {number % 150}"] = Map({"x": number * 1.5, "label": f"a label {number} " * 100})
        other.apply_update(doc.get_update(before))
        count += 15
        turn = 1 - turn
    return bytes(docs[turn].get_update())


def draw(diagram: Diagram) -> None:
    with Client(diagram.daemon, "sketch", diagram.editor) as author:
        author.send(sync.encode_update(shapes_of_two(DOCUMENT)))
        author.flush()


def test_clients_of_all_versions_get_a_large_document_on_a_slow_line_and_are_not_cut(
    diagram: Diagram, clients: Providers
) -> None:
    draw(diagram)
    first = diagram.join(clients, "first")
    second = diagram.join(clients, "second")
    makers: list[Callable[[str], YjsClient]] = []
    for version in VERSIONS:
        makers.append(
            lambda url, version=version: clients.connect(  # type: ignore[misc]
                f"y-websocket {version}",
                url,
                diagram.room,
                version=version,
                headers=headers_of(diagram.editor),
                wait=False,
            )
        )
    for provider in PROVIDER_VERSIONS:
        makers.append(
            lambda url, version=provider: clients.provider(  # type: ignore[misc]
                f"provider {version}", diagram.room, url, version=version, token=diagram.editor.token, wait=False
            )
        )
    with ExitStack() as lines:
        slow = []
        for make in makers:
            line = lines.enter_context(SlowLine(diagram.daemon.ws_port, RATE))
            slow.append((line, make(line.url)))
        everyone = [client for _, client in slow]
        first.set_awareness({"name": "Ada"})
        clients.wait("sees", *everyone, state={"name": "Ada"})
        # Old providers take themselves for synced when all their edits are confirmed.
        for client in everyone:
            client.set_key("map", f"by {client.name}", True)
        first.set_key("map", "late", "drawn meanwhile")
        clients.wait_converged(first, second)
        for line, client in slow:
            if client.report()["synced"]:
                # It may be, if the machine is slow.
                assert line.received > DOCUMENT
        for line, client in slow:
            client.wait_synced()
            assert line.received > DOCUMENT
            assert client.report()["content"]["map"]["late"] == "drawn meanwhile"
        everyone[0].set_key("map", "later", "drawn by a slow client")
        clients.wait_converged(first, second, *everyone)
        for line, client in slow:
            report = client.report()
            assert (line.connections, report["closes"]) == (1, [])
            assert PART_SIZE / 2 < report["largestMessage"] < PART_SIZE + 200
