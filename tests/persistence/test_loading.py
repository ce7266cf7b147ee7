"""Documents are read and folded in chunks and pages, with the same result as in one statement."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from pycrdt import Doc, Map, Text
from twisted.internet import reactor

from canvas_collab.database import large_values
from canvas_collab.database.catalogue import Catalogue
from canvas_collab.database.migrations import prepare_database
from canvas_collab.database.pool import Database, Transaction
from canvas_collab.persistence import appending, loading, store
from canvas_collab.persistence.compactor import compact_in_background
from canvas_collab.persistence.store import LogEntry
from tests.support.authors import content, expect_all
from tests.support.databases import TestDatabase
from tests.support.interleavings import StoreInterleaving
from tests.support.stores import document_store

PAGE_ENTRIES, CHUNK_SIZE = 7, 300


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lowers how much is read and written at a time."""
    monkeypatch.setattr(loading, "PAGE_ENTRIES", PAGE_ENTRIES)
    monkeypatch.setattr(store, "PAGE_ENTRIES", PAGE_ENTRIES)
    for module in (loading, appending, large_values):
        monkeypatch.setattr(module, "CHUNK_SIZE", CHUNK_SIZE)


@pytest.fixture
def catalogue(database: TestDatabase) -> Catalogue:
    return prepare_database(database.url, migrate=True)


@pytest.fixture
def pool(database: TestDatabase) -> Iterator[Database]:
    pool = Database(reactor, database.url, 2)
    pool.startService()
    yield pool
    pool.stopService()


def edits(chance: random.Random, count: int) -> list[bytes]:
    """Return updates, some of them larger than a chunk."""
    doc: Doc[Any] = Doc()
    updates: list[bytes] = []
    subscription = doc.observe(lambda event: updates.append(event.update))
    text = doc.get("text", type=Text)
    keys: Map[Any] = doc.get("keys", type=Map)
    for number in range(count):
        if chance.random() < 0.1:
            keys[str(number)] = "".join(chance.choices("abc", k=chance.randrange(3 * CHUNK_SIZE)))
        else:
            text.insert(chance.randrange(len(text) + 1), f"{number} ")
    doc.unobserve(subscription)
    return updates


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("seed", range(5))
@pytest_twisted.ensureDeferred
async def test_a_document_read_in_chunks_and_folded_is_the_same(
    pool: Database, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    results: list[list[tuple[Any, ...]]] = []
    original = Transaction.query

    async def query(transaction: Transaction, sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        rows = await original(transaction, sql, parameters)
        results.append(rows)
        return rows

    monkeypatch.setattr(Transaction, "query", query)
    chance = random.Random(seed)
    updates = edits(chance, 100)
    documents = document_store(pool, catalogue, compact_in_background, 3600)
    for count, update in enumerate(updates):
        await documents.append([LogEntry("document", "nobody", update)])
        if count in (50, 99):
            stored = await documents.load("document")
            expect_all(stored.document, updates[: count + 1])
            assert content([stored.document.encode()]) == content(updates[: count + 1])
            folded = await documents.fold("document", compact=False)
            assert folded.entries == (51 if count == 50 else 49)
    stored = await documents.load("document")
    assert content([stored.document.encode()]) == content(updates)
    assert (stored.snapshot_size > 5 * CHUNK_SIZE, stored.unmerged_size) == (True, 0)
    # No result has more than a page or a chunk.
    assert max(map(len, results)) == PAGE_ENTRIES
    sizes = [sum(len(value) for row in rows for value in row if isinstance(value, memoryview)) for rows in results]
    layouts = 200
    assert CHUNK_SIZE * 0.9 < max(sizes) <= CHUNK_SIZE + layouts


@pytest.mark.usefixtures("small_chunks")
@pytest_twisted.ensureDeferred
async def test_a_load_in_chunks_sees_all_that_was_appended_before_it(
    database: TestDatabase, catalogue: Catalogue
) -> None:
    databases = [Database(reactor, database.url, 3) for _ in range(2)]
    stores = [document_store(each, catalogue, compact_in_background) for each in databases]
    for each in databases:
        each.startService()
    try:
        for seed in range(30):
            await StoreInterleaving(stores, seed).play()
    finally:
        for each in databases:
            each.stopService()
