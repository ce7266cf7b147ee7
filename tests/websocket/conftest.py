"""Fixtures for tests of WebSockets in memory, and of Hocuspocus sockets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from canvas_collab import scheduling
from canvas_collab.protocol import awareness
from canvas_collab.protocol.awareness import Entry
from canvas_collab.websocket import inbound
from tests.conftest import StartDaemon
from tests.support.clients import Client, typed
from tests.support.daemons import Daemon
from tests.support.databases import TestDatabase, User
from tests.support.hocuspocus_client import RawHocuspocus
from tests.support.server_sockets import IterationClock

#: The limits of the daemon of `server`.
HOCUSPOCUS_LIMITS = {
    "MAX_PENDING_DOCUMENTS": 3,
    "MAX_PENDING_MESSAGES": 5,
    "MAX_PENDING_SIZE": 2000,
    "MAX_DOCUMENTS": 6,
    "MAX_SESSIONS_PER_DOCUMENT": 4,
    "MAX_STATELESS_SIZE": 100,
}


class HocuspocusServer:
    """A daemon with low limits, two diagrams with an editor and a viewer, and a bystander in the first."""

    def __init__(self, daemon: Daemon, editor: User, viewer: User) -> None:
        self.daemon = daemon
        self.editor = editor
        self.viewer = viewer
        self.bystander = Client(daemon, "one", editor)

    def connect(self, path: str = "/") -> RawHocuspocus:
        """A new socket without documents."""
        return RawHocuspocus(self.daemon, path)

    def wait_for_awareness(self, entry: Entry) -> None:
        """Wait until the bystander receives an awareness update with just that entry."""
        while not any(awareness.decode(payload) == [entry] for payload in self.bystander.awareness):
            self.bystander.receive()

    def expect_bystander_unaffected(self) -> None:
        """The bystander is connected, and its edits are saved."""
        self.bystander.edit(typed("still here"))
        self.bystander.flush()
        with Client(self.daemon, "one", self.editor) as again:
            assert "still here" in again.text


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> IterationClock:
    """The clock that the duration of handling messages is measured with."""
    clock = IterationClock()
    monkeypatch.setattr(inbound, "perf_counter", clock.seconds)
    monkeypatch.setattr(scheduling, "perf_counter", clock.seconds)
    return clock


@pytest.fixture
def editor_and_viewer(database: TestDatabase) -> tuple[User, User]:
    """The users of the diagrams ``one`` and ``two``."""
    editor, viewer = database.add_user("ada"), database.add_user("vera")
    for diagram in ("one", "two"):
        database.add_diagram(diagram, editor, viewer=viewer)
    return editor, viewer


@pytest.fixture
def server(
    database: TestDatabase, start_daemon: StartDaemon, editor_and_viewer: tuple[User, User]
) -> Iterator[HocuspocusServer]:
    server = HocuspocusServer(start_daemon(database, **HOCUSPOCUS_LIMITS), *editor_and_viewer)
    yield server
    server.bystander.close()
