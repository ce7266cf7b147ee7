"""What becomes of the log: folded into a snapshot, compacted there, kept as history for a time, then pruned."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pycrdt import Doc, Map, Text
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from canvas_collab.document.folding import DocumentDamaged, Snapshot, read_document, snapshot_of
from canvas_collab.persistence.loading import PAGE_ENTRIES
from canvas_collab.persistence.pruning import BATCH_ENTRIES, LogPruner
from canvas_collab.protocol import sync
from tests.conftest import StartDaemon
from tests.support.clients import Client
from tests.support.daemons import Daemon
from tests.support.databases import TestDatabase, User


@contextmanager
def recorded(doc: Doc) -> Iterator[list[bytes]]:
    """The updates of what is done to a document."""
    updates: list[bytes] = []
    subscription = doc.observe(lambda event: updates.append(event.update))
    yield updates
    doc.unobserve(subscription)


def typed(doc: Doc, count: int) -> list[bytes]:
    """The updates of so many characters, typed one by one."""
    with recorded(doc) as updates:
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


def test_what_was_typed_as_single_characters_takes_little_space_once_everybody_has_left(
    database: TestDatabase, start_daemon: StartDaemon, ada: User
) -> None:
    daemon = start_daemon(database)
    doc: Doc = Doc()
    type_and_leave(daemon, ada, typed(doc, 1000))
    assert stored_size(database) < 1100
    with Client(daemon, "one", ada) as client:
        assert client.text == str(doc.get("text", type=Text))


def test_a_log_of_more_entries_than_are_read_at_a_time_is_folded_whole(
    database: TestDatabase, start_daemon: StartDaemon, ada: User
) -> None:
    daemon = start_daemon(database)
    doc: Doc = Doc()
    updates = typed(doc, 2 * PAGE_ENTRIES + 5)
    database.query("INSERT INTO yjs_document (id, data) VALUES ('diagram-one', '\\x0000')")
    database.query(
        "INSERT INTO yjs_update_log (document_id, update) SELECT 'diagram-one', decode(entry, 'hex')"
        " FROM unnest(%s::text[]) AS entry",
        ([update.hex() for update in updates],),
    )
    # One more edit has it folded.
    type_and_leave(daemon, ada, typed(doc, 1))

    assert database.query("SELECT count(*) FROM yjs_update_log WHERE merged_at IS NULL") == [(0,)]
    [[data]] = database.query("SELECT data FROM yjs_document")
    snapshot: Doc = Doc()
    snapshot.apply_update(bytes(data))
    assert str(snapshot.get("text", type=Text)) == str(doc.get("text", type=Text))


def test_deleted_content_goes_from_the_snapshot_when_it_has_been_history_for_long_enough(
    database: TestDatabase, start_daemon: StartDaemon, ada: User
) -> None:
    daemon = start_daemon(database, HISTORY_RETENTION=3600)
    doc: Doc = Doc()
    with recorded(doc) as updates:
        text = doc.get("text", type=Text)
        text += "secret " * 1000
        del text[0:6999]
    type_and_leave(daemon, ada, updates)
    assert stored_size(database) > 7000
    database.query("UPDATE yjs_document SET deletions_at = deletions_at - interval '1 hour'")
    with recorded(doc) as updates:
        text += "!"
    type_and_leave(daemon, ada, updates)
    assert stored_size(database) < 200
    with Client(daemon, "one", ada) as client:
        assert client.text == str(text) == " !"


def test_a_large_document_is_compacted_in_a_process_of_its_own_and_is_the_same_afterwards(
    database: TestDatabase, start_daemon: StartDaemon, ada: User
) -> None:
    daemon = start_daemon(database, LOG_LEVEL="debug")
    doc: Doc = Doc()
    with recorded(doc) as updates:
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


def test_a_document_that_is_full_can_be_read_and_things_deleted_but_nothing_added(
    database: TestDatabase, start_daemon: StartDaemon, ada: User
) -> None:
    daemon = start_daemon(database, MAX_DOCUMENT_SIZE=20_000)
    doc: Doc = Doc()
    text = doc.get("text", type=Text)
    with recorded(doc) as updates:
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


def test_an_update_that_the_database_refuses_holds_up_no_other_and_is_kept_once_it_is_taken(
    database: TestDatabase, start_daemon: StartDaemon, ada: User
) -> None:
    database.add_diagram("two", ada)
    database.query(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF position('poison'::bytea IN NEW.update) > 0 THEN RAISE EXCEPTION 'no poison'; END IF; RETURN NEW; END $$"
    )
    database.query("CREATE TRIGGER refuse BEFORE INSERT ON yjs_update_log FOR EACH ROW EXECUTE FUNCTION refuse()")
    daemon = start_daemon(database, JOURNAL_INTERVAL_MS=200)

    def typed(text: str) -> bytes:
        doc: Doc = Doc()
        doc["text"] = Text(text)
        return doc.get_update()

    with Client(daemon, "one", ada) as one, Client(daemon, "two", ada) as two:
        for number in range(20):
            one.edit(typed("poison" if number == 7 else f"{number} "))
            two.edit(typed(f"{number} "))
        refused = daemon.wait_for_event("update refused", room="diagram-one", user=ada.id)
        assert "no poison" in refused["reason"]
        daemon.wait_until(lambda: daemon.get("/health")[1]["unsaved_updates"] == 1)
        assert database.query("SELECT count(*) FROM yjs_update_log") == [(39,)]


def test_history_is_pruned_in_batches_until_nothing_is_left_of_that_age() -> None:
    clock = Clock()
    asked: list[int] = []
    answers = [BATCH_ENTRIES, BATCH_ENTRIES, 3, 0, 0]

    async def prune(limit: int) -> int:
        asked.append(limit)
        return answers.pop(0)

    history = LogPruner(clock, prune)
    history.startService()
    assert asked == [BATCH_ENTRIES] * 4
    history.stopService()


def test_pruning_goes_on_after_a_failure() -> None:
    clock = Clock()
    calls: list[int] = []

    def prune(limit: int) -> Deferred[int]:
        calls.append(limit)
        answer: Deferred[int] = Deferred()
        answer.errback(RuntimeError("away"))
        return answer

    history = LogPruner(clock, prune)
    history.startService()
    clock.pump([30.0] * 4)
    assert len(calls) == 3
    history.stopService()


def test_entries_that_have_been_history_for_long_enough_go_and_the_others_stay(
    database: TestDatabase, start_daemon: StartDaemon, ada: User
) -> None:
    database.query(
        "INSERT INTO yjs_document (id, data) VALUES ('diagram-one', '\\x0000');"
        "INSERT INTO yjs_update_log (document_id, update, merged_at, created_at) "
        "SELECT 'diagram-one', '\\x0000', now() - age, now() FROM unnest("
        "ARRAY['2 hours', '59 minutes', NULL]::interval[]) AS age"
    )
    daemon = start_daemon(database, HISTORY_RETENTION=3600)
    assert daemon.wait_for_event("history pruned")["entries"] == 1
    ages = database.query("SELECT merged_at IS NULL, merged_at < now() - interval '58 minutes' FROM yjs_update_log")
    assert sorted(ages, key=str) == [(False, True), (True, None)]


def test_a_snapshot_is_read_as_it_was_written_and_no_other() -> None:
    doc: Doc = Doc()
    doc["text"] = Text("abc")
    document = read_document(Snapshot(), [doc.get_update()])
    snapshot = snapshot_of(document)
    assert read_document(snapshot, []).encode() == document.encode()
    # What something else wrote has neither layout nor checksum.
    assert read_document(Snapshot(doc.get_update()), []).encode() == document.encode()
    layout = snapshot.layout or b""
    for damaged in (
        Snapshot(snapshot.data[:-1] + b"\x01", layout, snapshot.checksum),
        Snapshot(snapshot.data, layout + b"\x00", snapshot.checksum),
        Snapshot(snapshot.data, None, snapshot.checksum),
        Snapshot(b"\xff"),
        Snapshot(b"\x00\x00", b"\x09", hashlib.sha256(b"\x00\x00\x09").digest()),
    ):
        with pytest.raises(DocumentDamaged):
            read_document(damaged, [])
    with pytest.raises(DocumentDamaged):
        read_document(Snapshot(), [b"\xff"])
