"""This project's own server, with its default settings except that no user and no address has limits.

It looks up sessions and roles, and journals every update.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from time import monotonic, perf_counter, sleep

from psycopg2.extras import execute_values

from benchmarks.endpoint import Endpoint
from benchmarks.processes import lower_priority
from benchmarks.servers.base import RunningServer, Server, Testbed
from benchmarks.servers.large_document import LargeDocument
from canvas_collab import __version__
from canvas_collab.document.document import Document
from canvas_collab.document.folding import snapshot_of
from canvas_collab.protocol.update import decode_update
from tests.support.daemons import PATIENCE, ROOT, Daemon, daemon_environment
from tests.support.databases import TestDatabase


class CanvasCollab(Server):
    """The server, with clients that speak y-websocket's protocol."""

    name = "canvas-collab"
    needs_warm_up = False

    def __init__(self, sources: Path = ROOT) -> None:
        """:param sources: a checkout, or a copy of it, that the daemon runs from."""
        self._sources = sources

    @property
    def version(self) -> str:
        """The version of the server."""
        return __version__

    @contextmanager
    def start(
        self, testbed: Testbed, rooms: int, members: int, stored: LargeDocument | None = None
    ) -> Iterator[RunningServer]:
        """Start the server; see :meth:`Server.start`."""
        database = testbed.database
        tokens = _add_members(database, rooms, members)
        if stored is not None:
            # The same row that the daemon would write.
            snapshot = snapshot_of(Document([decode_update(stored.data)]))
            database.query(
                "INSERT INTO yjs_document (id, data, layout, checksum) VALUES ('diagram-0', %s, %s, %s)",
                (snapshot.data, snapshot.layout, snapshot.checksum),
            )
        # Each user of the benchmarks has a connection to every document.
        environment = daemon_environment(database, MAX_CONNECTIONS_PER_USER=0, MAX_ROOMS_PER_USER=0)
        environment["PYTHONPATH"] = str(self._sources)
        for name in ("SNAPSHOT_DEBOUNCE", "SNAPSHOT_MAX_WAIT"):
            del environment[name]
        with testbed.cores.on_server_core():
            started = perf_counter()
            daemon = Daemon(environment, directory=self._sources)
        try:
            _wait_until_ready(daemon)
            ready_after = perf_counter() - started
            # PostgreSQL shares cores with the generator, which would be late while PostgreSQL runs.
            lower_priority(testbed.database_pid)
            names = [f"diagram-{room}" for room in range(rooms)]
            endpoint = Endpoint("127.0.0.1", daemon.ws_port, names, tokens, self.hocuspocus)
            yield RunningServer(endpoint, daemon.pid, ready_after, testbed.database_pid, daemon.health_url)
        finally:
            daemon.stop()


class CanvasCollabHocuspocus(CanvasCollab):
    """The server, with clients that speak Hocuspocus's protocol."""

    name = "canvas-collab-hocuspocus"
    hocuspocus = True


def _wait_until_ready(daemon: Daemon) -> None:
    """Wait as :meth:`Daemon.wait_until_ready` does, but look more often."""
    deadline = monotonic() + PATIENCE
    while daemon.process.poll() is None and monotonic() < deadline:
        with suppress(OSError):
            if daemon.get("/ready")[0] == 200:
                return
        sleep(0.005)
    daemon.wait_until_ready()


def _add_members(database: TestDatabase, rooms: int, members: int) -> list[str]:
    """Replace all users, sessions and diagrams; every user becomes an editor of every diagram.

    :return: the users' session tokens.
    """
    connection = database.connect()
    with connection.cursor() as cursor:
        cursor.execute('TRUNCATE "user", diagram, yjs_document CASCADE')
        users = [(f"user-{member}", f"person-{member}") for member in range(members)]
        execute_values(
            cursor,
            'INSERT INTO "user" (id, name, email, "emailVerified") VALUES %s',
            [(user, name, f"{user}@test.invalid", True) for user, name in users],
        )
        tokens = [sha256(user.encode()).hexdigest()[:32] for user, _ in users]
        execute_values(
            cursor,
            'INSERT INTO session (id, token, "userId", "expiresAt", "updatedAt") VALUES %s',
            [(f"session-{user}", token, user) for (user, _), token in zip(users, tokens, strict=True)],
            "(%s, %s, %s, now() + interval '1 day', now())",
        )
        execute_values(
            cursor,
            "INSERT INTO diagram (id, owner_id, name) VALUES %s",
            [(str(room), "user-0", str(room)) for room in range(rooms)],
        )
        execute_values(
            cursor,
            "INSERT INTO diagram_member (diagram_id, user_id, role) VALUES %s",
            [(str(room), f"user-{member}", "editor") for room in range(rooms) for member in range(members)],
        )
    connection.close()
    return tokens
