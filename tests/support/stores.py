"""Document stores for tests: one pool of connections for everything, and no compaction unless the test brings it."""

from __future__ import annotations

from twisted.internet.task import Cooperator

from canvas_collab.database.catalogue import Catalogue
from canvas_collab.database.pool import Database
from canvas_collab.document.document import Document
from canvas_collab.persistence.store import Compact, DocumentStore
from canvas_collab.protocol.delete_set import DeleteSet


async def refuse_to_compact(document: Document, droppable: DeleteSet) -> Document:
    """The compaction of tests in which nothing is to be compacted."""
    raise AssertionError("nothing should be compacted")


def document_store(
    pool: Database, catalogue: Catalogue, compact: Compact = refuse_to_compact, retention: float = 0
) -> DocumentStore:
    """Return a store on a pool that is already started, or will be."""
    return DocumentStore(pool, catalogue, compact, retention, pool, Cooperator())
