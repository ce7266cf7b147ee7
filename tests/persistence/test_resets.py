"""The store reads the time of a document's last reset, and writes nothing that was compacted before a reset."""

from __future__ import annotations

from typing import Any

import pytest_twisted
from pycrdt import Doc, Text
from twisted.internet import reactor

from canvas_collab.database.large_values import CHUNK_SIZE
from canvas_collab.database.migrations import prepare_database
from canvas_collab.database.pool import Database
from canvas_collab.document.document import Document
from canvas_collab.document.folding import compact_document
from canvas_collab.persistence.store import LogEntry
from canvas_collab.protocol.delete_set import DeleteSet
from tests.support.databases import TestDatabase
from tests.support.stores import document_store


@pytest_twisted.ensureDeferred
async def test_a_document_is_loaded_with_the_time_of_its_last_reset(database: TestDatabase) -> None:
    pool = Database(reactor, database.url, 1)
    store = document_store(pool, prepare_database(database.url, migrate=True))
    pool.startService()
    try:
        assert (await store.load("small")).reset_at is None
        for name, size in (("small", 10), ("large", 2 * CHUNK_SIZE)):
            doc: Doc[Any] = Doc()
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
    doc: Doc[Any] = Doc()
    doc["text"] = Text("what goes " * 200)
    pool = Database(reactor, database.url, 2)

    async def compact(document: Document, droppable: DeleteSet) -> Document:
        # Meanwhile an operator has all of it taken out.
        database.query("DELETE FROM yjs_update_log")
        database.query("UPDATE yjs_document SET data = '\\x0000', reset_at = clock_timestamp()")
        return compact_document(document, droppable)

    store = document_store(pool, catalogue, compact)
    pool.startService()
    try:
        await store.append([LogEntry("a", "nobody", doc.get_update())])
        await store.fold("a", compact=True)
        assert database.query("SELECT data FROM yjs_document")[0][0].tobytes() == b"\x00\x00"
        await store.append([LogEntry("a", "nobody", doc.get_update())])
        assert (await store.load("a")).document.size > 2000
    finally:
        pool.stopService()
