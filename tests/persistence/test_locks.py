"""Another transaction holds a lock: only what is locked waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from canvas_collab.persistence.postponed import LONGEST_LOCKED_RETRY_DELAY
from tests.conftest import StartDaemon
from tests.support.clients import Client, typed
from tests.support.databases import TestDatabase


@contextmanager
def transaction(database: TestDatabase, statement: str, *values: str) -> Iterator[None]:
    """A transaction that has run a statement, open for the duration of the ``with`` block."""
    connection = database.connect()
    try:
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(statement, values)
            yield
    finally:
        connection.close()


def saved(database: TestDatabase, diagram: str, count: int) -> Callable[[], bool]:
    query = "SELECT count(*) FROM yjs_update_log WHERE document_id = %s"
    return lambda: database.query(query, (f"diagram-{diagram}",)) == [(count,)]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT FROM yjs_document WHERE id = 'diagram-locked' FOR UPDATE",
        # It may still be rolled back.
        "DELETE FROM yjs_document WHERE id = 'diagram-locked'",
        "INSERT INTO yjs_document (id, data) VALUES ('diagram-new', '\\x0000')",
        "SELECT FROM \"user\" WHERE name = 'bob' FOR UPDATE",
    ],
    ids=["a document's row", "a document that is being deleted", "a document that is being added", "a user's row"],
)
def test_a_locked_row_delays_no_other_documents_edits(
    database: TestDatabase, start_daemon: StartDaemon, statement: str
) -> None:
    ada, bob = database.add_user("ada"), database.add_user("bob")
    names = ["free", "other", "locked", "new"]
    for name in names:
        database.add_diagram(name, ada, editor=bob)
    daemon = start_daemon(database)
    victim = "new" if "INSERT" in statement else "locked"
    with (
        Client(daemon, "free", ada) as free,
        Client(daemon, "other", ada) as other,
        Client(daemon, victim, bob) as locked,
    ):
        # All documents but the new one are stored before the lock is taken.
        for client in (free, other, *([locked] if victim == "locked" else [])):
            client.edit(typed("before "))
        daemon.wait_until(lambda: daemon.get("/health")[1]["unsaved_updates"] == 0)
        before = 0 if victim == "new" else 1
        with transaction(database, statement):
            locked.edit(typed("while it is locked "))
            slowest = 0.0
            for number in range(10):
                began = time.monotonic()
                for client in (free, other):
                    client.edit(typed(str(number)))
                for name in ("free", "other"):
                    daemon.wait_until(saved(database, name, number + 2), 5)
                slowest = max(slowest, time.monotonic() - began)
                locked.edit(typed(str(number)))
            print(f"{statement}: edits of other documents saved after {slowest * 1000:.0f} ms at most")
            assert slowest < 0.5
            assert saved(database, victim, before)()
            assert daemon.wait_for_event("document locked")["room"] == f"diagram-{victim}"
            assert daemon.get("/ready")[0] == 200
            assert daemon.get("/health")[1]["unsaved_updates"] == 11
        daemon.wait_until(saved(database, victim, before + 11), 2 * LONGEST_LOCKED_RETRY_DELAY)
        daemon.wait_until(lambda: daemon.get("/health")[1]["unsaved_updates"] == 0)
    assert len(daemon.events("document locked")) == 1
    assert daemon.events("database connection lost") == []


def test_a_locked_document_delays_no_other_documents_snapshot(
    database: TestDatabase, start_daemon: StartDaemon
) -> None:
    ada = database.add_user("ada")
    for name in ("free", "locked"):
        database.add_diagram(name, ada)
    daemon = start_daemon(database, LOG_LEVEL="debug")
    with Client(daemon, "free", ada) as free, Client(daemon, "locked", ada) as locked:
        for client in (free, locked):
            client.edit(typed("before "))
        daemon.wait_for_event("snapshot written", room="diagram-free")
        daemon.wait_for_event("snapshot written", room="diagram-locked")
        # The lock that folding takes, which does not block appending.
        with transaction(database, "SELECT FROM yjs_document WHERE id = 'diagram-locked' FOR NO KEY UPDATE"):
            locked.edit(typed("while it is locked "))
            daemon.wait_for_event("snapshot failed", room="diagram-locked")
            free.edit(typed("in the meantime "))
            daemon.wait_until(lambda: len(daemon.events("snapshot written")) == 3)
            assert daemon.events("snapshot written")[-1]["room"] == "diagram-free"
        daemon.wait_until(lambda: daemon.events("snapshot written")[-1]["room"] == "diagram-locked")
