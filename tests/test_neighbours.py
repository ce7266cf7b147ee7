"""Following what others put into the log: a second daemon, or somebody who writes to the table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Doc, Text

from canvas_collab.persistence.notifications import Addition, parse_addition
from canvas_collab.protocol import sync
from tests.conftest import StartDaemon
from tests.harness.clients import Client
from tests.harness.databases import TestDatabase, User


def typed(text: str) -> bytes:
    doc: Doc = Doc()
    doc["text"] = Text(text)
    return doc.get_update()


@pytest.fixture
def ada(database: TestDatabase) -> User:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    return ada


def test_an_edit_on_one_daemon_is_seen_on_the_other(
    database: TestDatabase, start_daemon: StartDaemon, ada: User
) -> None:
    left, right = start_daemon(database), start_daemon(database)
    with Client(left, "one", ada) as here, Client(right, "one", ada) as there:
        here.edit(typed("from the left "))
        there.wait_for("from the left ")
        there.send(sync.encode_update(typed("from the right ")))
        here.wait_for_update()
        there.flush()
        here.flush()
        assert here.text == there.text
        assert "from the right" in here.text
    for daemon in (left, right):
        daemon.wait_until(lambda daemon=daemon: daemon.get("/health")[1]["documents"] == 0)
    # Nobody has journalled what the other had journalled already.
    assert database.query("SELECT count(*) FROM yjs_update_log") == [(2,)]
    with Client(left, "one", ada) as later:
        assert "from the left" in later.text
        assert "from the right" in later.text


def test_what_was_missed_while_the_database_was_away_is_caught_up_on(
    database: TestDatabase, start_daemon: StartDaemon, ada: User
) -> None:
    daemon = start_daemon(database)
    with Client(daemon, "one", ada) as client:
        client.edit(typed("before "))
        daemon.wait_until(lambda: database.query("SELECT count(*) FROM yjs_update_log") == [(1,)])
        # Whoever writes to the table without a word is not heard; losing the connection makes the daemon look.
        database.query(
            "INSERT INTO yjs_update_log (document_id, update) VALUES ('diagram-one', %s)", (typed("meanwhile "),)
        )
        database.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%% listening' "
            "AND datname = current_database()",
            {},
        )
        client.wait_for_update()
        client.flush()
        assert "meanwhile" in client.text
        assert "before" in client.text


@given(st.integers(0), st.integers(0))
def test_a_notification_says_what_was_added(first: int, last: int) -> None:
    assert parse_addition(f"origin {first} {last}") == Addition("origin", first, last)


@pytest.mark.parametrize("payload", ["", "hello", "a b c", "a 1 x", "a 1 2 d"])
def test_what_is_no_notification_of_ours_is_none(payload: str) -> None:
    assert parse_addition(payload) is None
