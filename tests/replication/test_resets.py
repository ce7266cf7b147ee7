"""A document that was made anew while a daemon had it: in memory, on its way there, or being compacted."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, cast

import pytest
import pytest_twisted
from pycrdt import Doc, Text
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from canvas_collab.database.chunks import PIECE
from canvas_collab.database.migrations import prepare_database
from canvas_collab.database.pool import Database, DatabaseUnavailable, Row
from canvas_collab.document import document
from canvas_collab.document.document import Document, merge_updates
from canvas_collab.document.folding import compact_document
from canvas_collab.persistence.store import DocumentStore, LogEntry
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.steps import run_to_completion
from canvas_collab.protocol.update import decode_update
from canvas_collab.replication.resets import ResetHandler
from canvas_collab.rooms.awareness import Awareness
from canvas_collab.rooms.pacing import FlushPacer
from canvas_collab.rooms.prepared_message import PreparedMessage
from canvas_collab.rooms.room import Room
from canvas_collab.rooms.rooms import LONGEST_WAIT, Rooms
from tests.support.databases import TestDatabase


def room(clock: Clock, name: str) -> Room[Any]:
    return Room(clock, name, Document(), Awareness(1), FlushPacer(1, 1), FlushPacer(1, 1), lambda *_: None)


async def never(document: Document, droppable: DeleteSet) -> Document:
    raise AssertionError("there is nothing to be compacted")


class Loading:
    """Rooms that come when the test says so."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.loads: list[Deferred[Room[Any]]] = []
        self.saved: list[str] = []
        self.commits: list[Deferred[None]] = []
        self.rooms = Rooms(self.clock, self._load, self._save, when_committed=self._when_committed)

    def _load(self, name: str) -> Deferred[Room[Any]]:
        self.loads.append(Deferred())
        return self.loads[-1]

    async def _save(self, name: str) -> None:
        self.saved.append(name)

    def _when_committed(self, name: str) -> Deferred[None]:
        self.commits.append(Deferred())
        return self.commits[-1]

    def enter(self) -> Deferred[Room[Any]]:
        return Deferred.fromCoroutine(self.rooms.enter("a"))


def test_who_enters_after_a_reset_is_in_another_room_than_who_was_there() -> None:
    loading = Loading()
    first = loading.enter()
    old, new = room(loading.clock, "a"), room(loading.clock, "a")
    loading.loads[0].callback(old)
    assert first.result is old
    assert loading.rooms.discard("a") is old
    assert old.is_discarded
    assert len(loading.rooms) == 0
    loading.commits[0].callback(None)
    second = loading.enter()
    loading.loads[1].callback(new)
    assert second.result is new
    assert not new.is_discarded
    loading.rooms.leave("a")
    assert loading.saved == ["a"]
    assert "a" not in loading.rooms
    assert loading.rooms.discard("a") is None


def test_a_room_that_was_being_loaded_when_its_document_was_reset_is_loaded_again() -> None:
    loading = Loading()
    entering = [loading.enter(), loading.enter()]
    assert loading.rooms.discard("a") is None
    loading.loads[0].callback(room(loading.clock, "a"))
    assert not any(each.called for each in entering)
    new = room(loading.clock, "a")
    loading.loads[1].callback(new)
    assert [each.result for each in entering] == [new, new]


class Somebody:
    """Somebody who edits, and reads nothing."""

    user_id = "somebody"

    def offer(self, message: PreparedMessage) -> bool:
        return True


def enter_after_a_discard(loading: Loading) -> Deferred[Room[Any]]:
    """Somebody opens a document that was just reset."""
    loading.enter()
    loading.loads[0].callback(room(loading.clock, "a"))
    loading.rooms.discard("a")
    return loading.enter()


def test_who_enters_after_a_reset_waits_until_what_was_edited_before_it_is_taken_in_and_committed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(document, "RUNS_PER_STEP", 1)
    loading = Loading()
    loading.enter()
    old = room(loading.clock, "a")
    loading.loads[0].callback(old)
    texts = [Doc({"text": Text(text)}).get_update() for text in "abc"]
    editing = old.edit(cast(Any, Somebody()), decode_update(merge_updates(map(decode_update, texts))))
    next(editing)
    loading.rooms.discard("a")
    entering = loading.enter()
    assert loading.commits == []
    run_to_completion(editing)
    assert len(loading.loads) == len(loading.commits) == 1
    loading.commits[0].callback(None)
    new = room(loading.clock, "a")
    loading.loads[1].callback(new)
    assert entering.result is new


def test_who_enters_after_a_reset_does_not_wait_for_ever_for_what_cannot_be_committed() -> None:
    loading = Loading()
    enter_after_a_discard(loading)
    loading.clock.advance(LONGEST_WAIT / 2)
    assert len(loading.loads) == 1
    loading.clock.advance(LONGEST_WAIT / 2)
    loading.loads[1].callback(room(loading.clock, "a"))
    # And nobody does so again.
    loading.rooms.leave("a")
    loading.enter()
    assert len(loading.loads) == 3


def test_who_enters_after_a_second_reset_waits_though_what_was_before_the_first_gets_there() -> None:
    loading = Loading()
    enter_after_a_discard(loading)
    loading.clock.advance(LONGEST_WAIT)
    loading.loads[1].callback(room(loading.clock, "a"))
    loading.rooms.discard("a")
    loading.commits[0].callback(None)
    loading.enter()
    assert len(loading.loads) == 2
    loading.commits[1].callback(None)
    assert len(loading.loads) == 3


def test_who_tries_again_after_loading_has_failed_waits_again() -> None:
    loading = Loading()
    failures: list[Failure] = []
    enter_after_a_discard(loading).addErrback(failures.append)
    loading.clock.advance(LONGEST_WAIT)
    loading.loads[1].errback(DatabaseUnavailable("away"))
    assert len(failures) == 1
    loading.enter()
    assert len(loading.loads) == 2
    loading.commits[0].callback(None)
    assert len(loading.loads) == 3


class Asked:
    """A database that answers when documents were made anew, or cannot be asked."""

    def __init__(self) -> None:
        self.resets: dict[str, datetime] = {}
        self.is_away = False

    async def query(self, sql: str, parameters: tuple[list[str]]) -> list[Row]:
        if self.is_away:
            raise DatabaseUnavailable("away")
        [names] = parameters
        return [(name, reset_at) for name, reset_at in self.resets.items() if name in names]


class Stage:
    """Rooms, and what looks whether they were reset."""

    def __init__(self) -> None:
        self.loading = Loading()
        self.asked = Asked()
        self.resets = ResetHandler(cast(Database, self.asked), self.loading.rooms)

    def look(self) -> list[Failure]:
        """Look, and return what failed."""
        failures: list[Failure] = []
        Deferred.fromCoroutine(self.resets.missed()).addErrback(failures.append)
        return failures

    def load(self, reset_at: datetime | None) -> Room[Any]:
        """The room that is on its way comes as it was stored after some reset."""
        loaded = room(self.loading.clock, "a")
        self.resets.loaded("a", reset_at)
        self.loading.loads[-1].callback(loaded)
        return loaded


FIRST = datetime(2024, 1, 1, tzinfo=timezone.utc)
SECOND = FIRST + timedelta(milliseconds=1)


def test_a_room_is_reset_once_for_each_time_that_its_document_was_made_anew() -> None:
    stage = Stage()
    for known, found in ((None, FIRST), (FIRST, SECOND)):
        stage.loading.enter()
        old = stage.load(known)
        stage.look()
        assert not old.is_discarded
        stage.asked.resets["a"] = found
        stage.look()
        assert old.is_discarded
        stage.loading.commits.pop().callback(None)
        entering = stage.loading.enter()
        new = stage.load(found)
        assert entering.result is new
        stage.look()
        assert not new.is_discarded
        stage.loading.rooms.leave("a")
    assert len(stage.loading.loads) == 4


def test_a_room_on_its_way_is_loaded_again_if_what_was_read_is_from_before_a_reset() -> None:
    stage = Stage()
    entering = stage.loading.enter()
    stage.asked.resets["a"] = FIRST
    stage.look()
    stage.load(None)
    assert not entering.called
    assert len(stage.loading.loads) == 2
    stage.look()
    new = stage.load(FIRST)
    assert entering.result is new
    stage.look()
    assert not new.is_discarded


def test_a_room_on_its_way_stays_if_what_was_read_is_from_after_the_reset() -> None:
    stage = Stage()
    entering = stage.loading.enter()
    stage.asked.resets["a"] = FIRST
    stage.look()
    new = stage.load(FIRST)
    assert entering.result is new
    assert len(stage.loading.loads) == 1


def test_a_room_that_was_reset_while_it_was_loaded_anew_comes_all_the_same() -> None:
    stage = Stage()
    entering = stage.loading.enter()
    stage.asked.resets["a"] = FIRST
    stage.look()
    # It was made anew once more before it was read, which is not what was found.
    stage.load(SECOND)
    new = stage.load(SECOND)
    assert entering.result is new


def test_that_resets_could_not_be_looked_for_is_told() -> None:
    stage = Stage()
    stage.asked.is_away = True
    assert [failure.type for failure in stage.look()] == [DatabaseUnavailable]


@pytest_twisted.ensureDeferred
async def test_with_a_document_it_is_read_when_it_was_made_anew(database: TestDatabase) -> None:
    pool = Database(reactor, database.url, 1)
    store = DocumentStore(pool, prepare_database(database.url, migrate=True), never, 0)
    pool.startService()
    try:
        assert (await store.load("small")).reset_at is None
        for name, size in (("small", 10), ("large", 2 * PIECE)):
            doc: Doc = Doc()
            doc["text"] = Text("x" * size)
            await store.append([LogEntry(name, "nobody", doc.get_update())])
            assert (await store.load(name)).reset_at is None
            [[reset_at]] = database.query(
                "UPDATE yjs_document SET reset_at = clock_timestamp() WHERE id = %s RETURNING reset_at", (name,)
            )
            stored = await store.load(name)
            assert (stored.reset_at, stored.unmerged_size) == (reset_at, len(doc.get_update()))
    finally:
        pool.stopService()


@pytest_twisted.ensureDeferred
async def test_what_was_compacted_before_a_reset_is_not_written_after_it(database: TestDatabase) -> None:
    catalogue = prepare_database(database.url, migrate=True)
    doc: Doc = Doc()
    doc["text"] = Text("what goes " * 200)
    pool = Database(reactor, database.url, 2)

    async def compact(document: Document, droppable: DeleteSet) -> Document:
        # Meanwhile an operator has all of it taken out.
        database.query("DELETE FROM yjs_update_log")
        database.query("UPDATE yjs_document SET data = '\\x0000', reset_at = clock_timestamp()")
        return compact_document(document, droppable)

    store = DocumentStore(pool, catalogue, compact, 0)
    pool.startService()
    try:
        await store.append([LogEntry("a", "nobody", doc.get_update())])
        await store.fold("a")
        assert database.query("SELECT data FROM yjs_document")[0][0].tobytes() == b"\x00\x00"
        await store.append([LogEntry("a", "nobody", doc.get_update())])
        assert (await store.load("a")).document.size > 2000
    finally:
        pool.stopService()
