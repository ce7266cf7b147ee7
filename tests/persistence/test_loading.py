"""Reading and writing what is large, in parts: each is small, and together they are what one statement would see."""

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
from canvas_collab.persistence import loading, store
from canvas_collab.persistence.compactor import compact_in_background
from canvas_collab.persistence.store import LogEntry
from tests.replication.test_two_daemons import StoreInterleaving, content, expect_all
from tests.support.databases import TestDatabase
from tests.support.stores import document_store

ROWS, BYTES = 7, 300


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read and written at a time is little."""
    monkeypatch.setattr(loading, "PAGE_ENTRIES", ROWS)
    monkeypatch.setattr(store, "PAGE_ENTRIES", ROWS)
    for module in (loading, store, large_values):
        monkeypatch.setattr(module, "CHUNK_SIZE", BYTES)


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
    """Updates, some of them larger than what is read at a time."""
    doc: Doc[Any] = Doc()
    updates: list[bytes] = []
    subscription = doc.observe(lambda event: updates.append(event.update))
    text = doc.get("text", type=Text)
    keys: Map[Any] = doc.get("keys", type=Map)
    for number in range(count):
        if chance.random() < 0.1:
            keys[str(number)] = "".join(chance.choices("abc", k=chance.randrange(3 * BYTES)))
        else:
            text.insert(chance.randrange(len(text) + 1), f"{number} ")
    doc.unobserve(subscription)
    return updates


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("seed", range(5))
@pytest_twisted.ensureDeferred
async def test_a_document_is_read_in_parts_and_folded_and_is_the_same(
    pool: Database, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    answers: list[list[tuple[Any, ...]]] = []
    ask = Transaction.query

    async def query(transaction: Transaction, sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        rows = await ask(transaction, sql, parameters)
        answers.append(rows)
        return rows

    monkeypatch.setattr(Transaction, "query", query)
    chance = random.Random(seed)
    updates = edits(chance, 100)
    kept = document_store(pool, catalogue, compact_in_background, 3600)
    for count, update in enumerate(updates):
        await kept.append([LogEntry("document", "nobody", update)])
        if count in (50, 99):
            stored = await kept.load("document")
            expect_all(stored.document, updates[: count + 1])
            assert content([stored.document.encode()]) == content(updates[: count + 1])
            folded = await kept.fold("document", compact=False)
            assert folded.entries == (51 if count == 50 else 49)
    stored = await kept.load("document")
    assert content([stored.document.encode()]) == content(updates)
    assert (stored.snapshot_size > 5 * BYTES, stored.unmerged_size) == (True, 0)
    # No answer has more than what is read at a time.
    assert max(map(len, answers)) == ROWS
    sizes = [sum(len(value) for row in rows for value in row if isinstance(value, memoryview)) for rows in answers]
    layouts = 200
    assert BYTES * 0.9 < max(sizes) <= BYTES + layouts


@pytest.mark.usefixtures("small_parts")
@pytest_twisted.ensureDeferred
async def test_in_parts_as_well_a_load_sees_all_that_was_appended_before_it(
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


@pytest.mark.usefixtures("small_parts")
@pytest_twisted.ensureDeferred
async def test_a_value_that_is_sent_in_parts_arrives_whole_and_leaves_nothing_behind(pool: Database) -> None:
    values = [random.Random(size).randbytes(size) for size in (0, 1, BYTES, BYTES + 1, 10 * BYTES + 7)]

    async def steps(transaction: Transaction) -> list[bytes]:
        sender = large_values.ChunkSender(transaction)
        sent = [await sender.parameter(value) for value in values]
        rows = await transaction.query("SELECT " + ", ".join("%s" for _ in sent), sent)
        return [bytes(value) for value in rows[0]]

    assert await pool.transaction(steps) == values
    for _ in range(4):
        assert await pool.query("SELECT coalesce(current_setting('canvas_collab.chunk_0', true), '')") == [("",)]
