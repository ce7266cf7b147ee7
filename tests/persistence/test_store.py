"""The daemon stores documents: the log with the users who edited, snapshots, loading, damaged snapshots."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest
from pycrdt import Doc, Text, merge_updates

from canvas_collab.protocol import sync
from tests.conftest import StartDaemon
from tests.support.clients import Client, Refused
from tests.support.databases import TestDatabase


def edits(count: int) -> list[bytes]:
    """Return the updates of a user who types."""
    doc: Doc[Any] = Doc()
    updates: list[bytes] = []
    doc.observe(lambda event: updates.append(event.update))
    text = doc.get("text", type=Text)
    for number in range(count):
        text += f"{number} "
    return updates


def text_of(*updates: bytes) -> str:
    doc: Doc[Any] = Doc()
    doc.apply_update(merge_updates(*updates))
    return str(doc.get("text", type=Text))


def test_every_update_is_in_the_log_with_the_user_who_made_it(
    database: TestDatabase, start_daemon: StartDaemon
) -> None:
    ada, bob = database.add_user("ada"), database.add_user("bob")
    database.add_diagram("one", ada, editor=bob)
    daemon = start_daemon(database)
    updates = edits(20)
    with Client(daemon, "one", ada) as first, Client(daemon, "one", bob) as second:
        for update in updates:
            first.edit(update)
        second.wait_for(text_of(*updates))
        more: Doc[Any] = Doc()
        more["text"] = Text("more")
        second.edit(more.get_update())
        first.wait_for_update()
        daemon.wait_until(lambda: daemon.get("/health")[1]["unsaved_updates"] == 0)
        rows = database.query("SELECT user_id, update FROM yjs_update_log ORDER BY id")
    assert [user for user, _ in rows] == [ada.id] * 20 + [bob.id]
    assert [bytes(update) for _, update in rows[:20]] == updates


def test_the_snapshot_has_what_the_log_has(database: TestDatabase, start_daemon: StartDaemon) -> None:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    daemon = start_daemon(database)
    with Client(daemon, "one", ada) as client:
        for update in edits(5):
            client.edit(update)
        daemon.wait_until(
            lambda: database.query("SELECT count(*) FROM yjs_update_log WHERE merged_at IS NOT NULL") == [(5,)]
        )
    [(data,)] = database.query("SELECT data FROM yjs_document WHERE id = 'diagram-one'")
    assert text_of(bytes(data)) == "0 1 2 3 4 "


def test_a_document_is_the_same_after_the_daemon_was_restarted(
    database: TestDatabase, start_daemon: StartDaemon
) -> None:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    daemon = start_daemon(database)
    with Client(daemon, "one", ada) as client:
        for update in edits(30):
            client.edit(update)
        client.flush()
        assert daemon.stop() == 128 + signal.SIGTERM
    daemon = start_daemon(database)
    with Client(daemon, "one", ada) as client:
        assert client.text == text_of(*edits(30))


def test_stopping_closes_clients_with_1012_and_saves_within_five_seconds(
    database: TestDatabase, start_daemon: StartDaemon
) -> None:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    daemon = start_daemon(database, SNAPSHOT_DEBOUNCE=600, SNAPSHOT_MAX_WAIT=600)
    with Client(daemon, "one", ada) as client:
        for update in edits(10):
            client.edit(update)
        client.flush()
        began = time.monotonic()
        daemon.process.send_signal(signal.SIGINT)
        assert client.wait_for_close()[0] == 1012
        daemon.stop()
        assert time.monotonic() - began < 5
    [(data, unmerged)] = database.query(
        "SELECT data, (SELECT count(*) FROM yjs_update_log WHERE merged_at IS NULL) FROM yjs_document"
    )
    assert text_of(bytes(data)) == text_of(*edits(10))
    assert unmerged == 0


def test_what_was_committed_is_there_after_a_kill(database: TestDatabase, start_daemon: StartDaemon) -> None:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    daemon = start_daemon(database, SNAPSHOT_DEBOUNCE=600, SNAPSHOT_MAX_WAIT=600)
    with Client(daemon, "one", ada) as client:
        for update in edits(10):
            client.edit(update)
        daemon.wait_until(lambda: database.query("SELECT count(*) FROM yjs_update_log") == [(10,)])
        daemon.kill()
    daemon = start_daemon(database)
    with Client(daemon, "one", ada) as client:
        assert client.text == text_of(*edits(10))
        # The log entries that a crash has left are folded without another edit.
        daemon.wait_until(
            lambda: database.query("SELECT count(*) FROM yjs_update_log WHERE merged_at IS NULL") == [(0,)]
        )


def test_a_document_is_unloaded_when_the_last_client_leaves(database: TestDatabase, start_daemon: StartDaemon) -> None:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    daemon = start_daemon(database)
    with Client(daemon, "one", ada) as client:
        client.edit(edits(1)[0])
        client.flush()
        assert daemon.get("/health")[1]["documents"] == 1
    daemon.wait_until(lambda: daemon.get("/health")[1]["documents"] == 0)
    assert database.query("SELECT count(*) FROM yjs_update_log WHERE merged_at IS NULL") == [(0,)]
    with Client(daemon, "one", ada) as client:
        assert client.text == "0 "


def test_the_edit_of_a_user_whose_account_is_deleted_is_kept(database: TestDatabase, start_daemon: StartDaemon) -> None:
    ada, bob = database.add_user("ada"), database.add_user("bob")
    database.add_diagram("one", ada, editor=bob)
    daemon = start_daemon(database)
    with Client(daemon, "one", bob) as client:
        database.query('DELETE FROM "user" WHERE id = %s', (bob.id,))
        client.edit(edits(1)[0])
        daemon.wait_until(lambda: len(database.query("SELECT 1 FROM yjs_update_log")) == 1)
    assert database.query("SELECT user_id FROM yjs_update_log") == [(None,)]


@pytest.mark.parametrize(("reject_with", "answer"), [("http", 500), ("close", 4500)])
def test_a_damaged_snapshot_is_reported_and_left_as_it_is(
    database: TestDatabase, start_daemon: StartDaemon, reject_with: str, answer: int
) -> None:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    database.add_diagram("two", ada)
    database.query("INSERT INTO yjs_document (id, data, checksum) VALUES ('diagram-one', '\\x0000', '\\xbad0')")
    daemon = start_daemon(database, REJECT_WITH=reject_with)
    with pytest.raises(Refused) as refused:
        Client(daemon, "one", ada)
    assert refused.value.code == answer
    assert daemon.wait_for_event("document damaged")["room"] == "diagram-one"
    assert daemon.get("/health")[1]["damaged_documents"] == ["diagram-one"]
    with Client(daemon, "two", ada) as client:
        assert client.text == ""
    [stored] = database.query("SELECT data, checksum FROM yjs_document WHERE id = 'diagram-one'")
    assert [bytes(column) for column in stored] == [b"\x00\x00", b"\xba\xd0"]


def test_a_full_document_can_be_read_and_reduced_but_not_extended(
    database: TestDatabase, start_daemon: StartDaemon
) -> None:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    daemon = start_daemon(database, MAX_DOCUMENT_SIZE=20_000)
    doc: Doc[Any] = Doc()
    updates: list[bytes] = []
    doc.observe(lambda event: updates.append(event.update))
    text = doc.get("text", type=Text)
    text += "x" * 18_000
    text += "y" * 2000
    with Client(daemon, "one", ada) as client, Client(daemon, "one", ada) as bystander:
        client.edit(updates[0])
        client.edit(updates[1])
        code, reason = client.wait_for_close()
        assert (code, "20000 bytes" in reason) == (4413, True)
        bystander.wait_for("x" * 18_000)
        state = bystander.doc.get_state()
        content = bystander.doc.get("text", type=Text)
        del content[0:17_999]
        bystander.send(sync.encode_update(bystander.doc.get_update(state)))
        bystander.flush()
    with Client(daemon, "one", ada) as client:
        assert client.text == "x"
