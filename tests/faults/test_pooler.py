"""PgBouncer: session pooling works, and transaction pooling beside a direct connection; without one it is reported."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import StartDaemon
from tests.support.clients import Client, typed
from tests.support.commands import run
from tests.support.databases import PostgreSQL, TestDatabase, User
from tests.support.pooler import PgBouncer, find_pgbouncer


@pytest.fixture
def pgbouncer() -> str:
    """The path of PgBouncer."""
    executable = find_pgbouncer()
    if executable is None:
        if os.environ.get("CI"):
            pytest.fail("there is no pgbouncer, and no test may be skipped here")
        pytest.skip("there is no pgbouncer; Debian has a package of that name")
    return executable


@pytest.fixture
def ada(database: TestDatabase) -> User:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    return ada


def test_behind_a_transaction_pooler_it_is_said_that_nothing_is_heard_and_edits_are_followed_all_the_same(
    database: TestDatabase, start_daemon: StartDaemon, ada: User, pgbouncer: str
) -> None:
    with PgBouncer(pgbouncer, database.url, "transaction") as pooler:
        # The first must have returned the pooler's connections before the second starts.
        left, right = (start_daemon(database, DATABASE_URL=pooler.url) for _ in range(2))
        with Client(left, "one", ada) as here, Client(right, "one", ada) as there:
            for daemon in (left, right):
                daemon.wait_for_event("notifications not received")
                health = daemon.get("/health")[1]
                assert (health["status"], health["notifications"]["ok"]) == ("ok", False)
                assert "DATABASE_LISTEN_URL" in health["notifications"]["reason"]
                assert "transaction pooler" in health["notifications"]["reason"]
            here.edit(typed("from the left "))
            there.wait_for("from the left ")
            there.edit(typed("from the right "))
            while "from the right" not in here.text:
                here.receive()
        for daemon in (left, right):
            daemon.stop()


def test_behind_a_session_pooler_notifications_are_received(
    database: TestDatabase, start_daemon: StartDaemon, ada: User, pgbouncer: str
) -> None:
    with PgBouncer(pgbouncer, database.url, "session") as pooler:
        left, right = (start_daemon(database, DATABASE_URL=pooler.url, RECONCILE_INTERVAL=0.5) for _ in range(2))
        with Client(left, "one", ada) as here, Client(right, "one", ada) as there:
            here.edit(typed("from the left "))
            there.wait_for("from the left ")
        for daemon in (left, right):
            assert daemon.get("/health")[1]["notifications"] == {"ok": True, "reason": None}
            assert daemon.events("notifications not received") == []
            daemon.stop()


def test_behind_a_transaction_pooler_notifications_are_received_on_a_direct_connection(
    database: TestDatabase, start_daemon: StartDaemon, ada: User, pgbouncer: str, tmp_path: Path
) -> None:
    with PgBouncer(pgbouncer, database.url, "transaction") as pooler:
        urls = {"DATABASE_URL": pooler.url, "DATABASE_LISTEN_URL": database.url}
        # Only a notification brings an edit to the other daemon within the time of the test.
        left, right = (start_daemon(database, **urls, RECONCILE_INTERVAL=300) for _ in range(2))
        with Client(left, "one", ada) as here, Client(right, "one", ada) as there:
            here.edit(typed("from the left "))
            there.wait_for("from the left ")
        for daemon in (left, right):
            assert daemon.get("/health")[1]["notifications"] == {"ok": True, "reason": None}
        backup = tmp_path / "backup"
        done = run("backup", str(backup), DATABASE_URL=pooler.url, DATABASE_LISTEN_URL=database.url)
        assert done.returncode == 0, done.stderr.decode()
        assert backup.stat().st_size > 0
        for daemon in (left, right):
            assert [event for event in daemon.events() if event["level"] not in ("debug", "info")] == []
            daemon.stop()


def test_listening_on_another_database_is_reported(
    database: TestDatabase, start_daemon: StartDaemon, postgres: PostgreSQL
) -> None:
    with postgres.database() as other:
        daemon = start_daemon(database, DATABASE_LISTEN_URL=other.url)
        event = daemon.wait_for_event("notifications not received")
        assert "the same database as DATABASE_URL" in event["reason"]
        daemon.stop()


def test_a_database_to_listen_on_that_cannot_be_reached_is_a_sentence(
    database: TestDatabase, start_daemon: StartDaemon
) -> None:
    with pytest.raises(AssertionError, match=r"The database of DATABASE_LISTEN_URL cannot be reached") as caught:
        start_daemon(database, DATABASE_LISTEN_URL="postgresql://nobody@127.0.0.1:1/nothing")
    assert "Traceback" not in str(caught.value)
