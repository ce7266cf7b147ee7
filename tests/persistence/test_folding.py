"""Folding the log of a document into its snapshot, and compacting that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pycrdt import Doc, Map, Text

from canvas_collab.persistence.loading import PAGE_ENTRIES
from canvas_collab.protocol import sync
from tests.conftest import StartDaemon
from tests.support.clients import Client
from tests.support.daemons import Daemon
from tests.support.databases import TestDatabase, User


@contextmanager
def recorded_updates(doc: Doc[Any]) -> Iterator[list[bytes]]:
    """Collect the updates of what is done to a document in the ``with`` block."""
    updates: list[bytes] = []
    subscription = doc.observe(lambda event: updates.append(event.update))
    yield updates
    doc.unobserve(subscription)


def typed_updates(doc: Doc[Any], count: int) -> list[bytes]:
    """Return the updates of so many characters, typed one by one."""
    with recorded_updates(doc) as updates:
        text = doc.get("text", type=Text)
        for number in range(count):
            text += chr(97 + number % 26)
    return updates


@pytest.fixture
def ada(database: TestDatabase) -> User:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    return ada


def wait_until_unloaded(daemon: Daemon) -> None:
    daemon.wait_until(lambda: daemon.get("/health")[1]["documents"] == 0)


def stored_size(database: TestDatabase) -> int:
    [[size]] = database.query("SELECT octet_length(data) FROM yjs_document")
    return int(size)


def type_and_leave(daemon: Daemon, user: User, updates: list[bytes]) -> None:
    with Client(daemon, "one", user) as client:
        for update in updates:
            client.send(sync.encode_update(update))
        client.flush()
    wait_until_unloaded(daemon)


def test_typed_characters_are_compacted_when_the_last_client_has_left(
    database: TestDatabase, start_daemon: StartDaemon, ada: User
) -> None:
    daemon = start_daemon(database)
    doc: Doc[Any] = Doc()
    type_and_leave(daemon, ada, typed_updates(doc, 1000))
    assert stored_size(database) < 1100
    with Client(daemon, "one", ada) as client:
        assert client.text == str(doc.get("text", type=Text))


def test_a_log_of_several_pages_is_folded_whole(database: TestDatabase, start_daemon: StartDaemon, ada: User) -> None:
    daemon = start_daemon(database)
    doc: Doc[Any] = Doc()
    updates = typed_updates(doc, 2 * PAGE_ENTRIES + 5)
    database.query("INSERT INTO yjs_document (id, data) VALUES ('diagram-one', '\\x0000')")
    database.query(
        "INSERT INTO yjs_update_log (document_id, update) SELECT 'diagram-one', decode(entry, 'hex')"
        " FROM unnest(%s::text[]) AS entry",
        ([update.hex() for update in updates],),
    )
    # The daemon folds the log after one more edit.
    type_and_leave(daemon, ada, typed_updates(doc, 1))

    assert database.query("SELECT count(*) FROM yjs_update_log WHERE merged_at IS NULL") == [(0,)]
    [[data]] = database.query("SELECT data FROM yjs_document")
    snapshot: Doc[Any] = Doc()
    snapshot.apply_update(bytes(data))
    assert str(snapshot.get("text", type=Text)) == str(doc.get("text", type=Text))


def test_deleted_content_is_dropped_from_the_snapshot_after_the_retention(
    database: TestDatabase, start_daemon: StartDaemon, ada: User
) -> None:
    daemon = start_daemon(database, HISTORY_RETENTION=3600)
    doc: Doc[Any] = Doc()
    with recorded_updates(doc) as updates:
        text = doc.get("text", type=Text)
        text += "secret " * 1000
        del text[0:6999]
    type_and_leave(daemon, ada, updates)
    assert stored_size(database) > 7000
    database.query("UPDATE yjs_document SET deletions_at = deletions_at - interval '1 hour'")
    with recorded_updates(doc) as updates:
        text += "!"
    type_and_leave(daemon, ada, updates)
    assert stored_size(database) < 200
    with Client(daemon, "one", ada) as client:
        assert client.text == str(text) == " !"


def test_a_large_document_is_compacted_in_a_process_of_its_own_and_is_the_same_afterwards(
    database: TestDatabase, start_daemon: StartDaemon, ada: User
) -> None:
    daemon = start_daemon(database, LOG_LEVEL="debug")
    doc: Doc[Any] = Doc()
    with recorded_updates(doc) as updates:
        shapes = doc.get("shapes", type=Map)
        for batch in range(10):
            with doc.transaction():
                for number in range(batch * 500, batch * 500 + 500):
                    shapes[f"shape {number}"] = Map({"x": number, "y": number / 7, "label": "a label " * 3})
    assert sum(map(len, updates)) > 300_000
    type_and_leave(daemon, ada, updates)
    assert any(event["compacted"] for event in daemon.events("snapshot written"))
    assert daemon.events("compaction failed") == []
    with Client(daemon, "one", ada) as client:
        assert client.doc.get("shapes", type=Map).to_py() == shapes.to_py()
