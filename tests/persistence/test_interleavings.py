"""Two stores on one database: whatever they do at once, a load sees everything that was appended before it.

``INTERLEAVING_SEED`` chooses other interleavings.
"""

from __future__ import annotations

import os

import pytest_twisted
from twisted.internet import reactor

from canvas_collab.database.migrations import prepare_database
from canvas_collab.database.pool import Database
from canvas_collab.persistence.compactor import compact_in_background
from tests.support.databases import TestDatabase
from tests.support.interleavings import StoreInterleaving
from tests.support.stores import document_store

SEED = int(os.environ.get("INTERLEAVING_SEED", "1"))
INTERLEAVINGS = 200


@pytest_twisted.ensureDeferred
async def test_a_load_sees_all_that_was_appended_before_it_whatever_two_stores_do_at_once(
    database: TestDatabase,
) -> None:
    catalogue = prepare_database(database.url, migrate=True)
    databases = [Database(reactor, database.url, 3) for _ in range(2)]
    stores = [document_store(each, catalogue, compact_in_background) for each in databases]
    for each in databases:
        each.startService()
    try:
        for number in range(INTERLEAVINGS):
            await StoreInterleaving(stores, SEED * INTERLEAVINGS + number).play()
    finally:
        for each in databases:
            each.stopService()
    # The stores have pruned and compacted, too.
    [[pruned]] = database.query("SELECT count(*) = 0 FROM yjs_update_log WHERE id = 1")
    [[compacted]] = database.query("SELECT count(*) > 0 FROM yjs_document WHERE compacted_size > 0")
    assert (pruned, compacted) == (True, True)
