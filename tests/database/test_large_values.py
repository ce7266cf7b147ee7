"""Large values are sent in chunks."""

from __future__ import annotations

import random

import pytest
import pytest_twisted
from twisted.internet import reactor

from canvas_collab.database import large_values
from canvas_collab.database.pool import Database, Transaction
from tests.support.databases import TestDatabase

CHUNK_SIZE = 300


@pytest_twisted.ensureDeferred
async def test_a_value_sent_in_chunks_arrives_whole_and_leaves_nothing_behind(
    empty_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_values, "CHUNK_SIZE", CHUNK_SIZE)
    pool = Database(reactor, empty_database.url, 2)
    pool.startService()
    values = [random.Random(size).randbytes(size) for size in (0, 1, CHUNK_SIZE, CHUNK_SIZE + 1, 10 * CHUNK_SIZE + 7)]

    async def steps(transaction: Transaction) -> list[bytes]:
        sender = large_values.ChunkSender(transaction)
        sent = [await sender.parameter(value) for value in values]
        rows = await transaction.query("SELECT " + ", ".join("%s" for _ in sent), sent)
        return [bytes(value) for value in rows[0]]

    try:
        assert await pool.transaction(steps) == values
        for _ in range(4):
            assert await pool.query("SELECT coalesce(current_setting('canvas_collab.chunk_0', true), '')") == [("",)]
    finally:
        pool.stopService()
