"""A document that was made anew while a daemon had it: in memory, on its way there, or being compacted."""

from __future__ import annotations

from typing import Any, cast

import pytest_twisted
from pycrdt import Doc, Text
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from canvas_collab.database.migrations import prepare_database
from canvas_collab.database.pool import Database, DatabaseUnavailable, Row
from canvas_collab.document.document import Document
from canvas_collab.document.folding import compacted
from canvas_collab.persistence.resets import Resets
from canvas_collab.persistence.store import DocumentStore, LogEntry
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.rooms.awareness import Awareness
from canvas_collab.rooms.pacing import Pace
from canvas_collab.rooms.room import Room
from canvas_collab.rooms.rooms import Rooms
from tests.harness.databases import TestDatabase


def room(clock: Clock, name: str) -> Room[Any]:
    return Room(clock, name, Document(), Awareness(1), Pace(1, 1), Pace(1, 1), lambda *_: None)


class Loading:
    """Rooms that come when the test says so."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.loads: list[Deferred[Room[Any]]] = []
        self.saved: list[str] = []
        self.rooms = Rooms(self.clock, self._load, self._save)

    def _load(self, name: str) -> Deferred[Room[Any]]:
        self.loads.append(Deferred())
        return self.loads[-1]

    async def _save(self, name: str) -> None:
        self.saved.append(name)

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


class AwayDatabase:
    """A database that nobody can ask."""

    async def query(self, sql: str, parameters: object) -> list[Row]:
        raise DatabaseUnavailable("away")


def test_that_resets_could_not_be_looked_for_is_told() -> None:
    loading = Loading()
    loading.enter()
    resets = Resets(loading.clock, cast(Database, AwayDatabase()), loading.rooms)
    failures: list[Failure] = []
    Deferred.fromCoroutine(resets.missed()).addErrback(failures.append)
    assert [failure.type for failure in failures] == [DatabaseUnavailable]


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
        return compacted(document, droppable)

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
