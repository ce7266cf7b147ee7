"""Reads the parts of stored documents and builds documents from them: small ones in one query, others page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Any

from attrs import frozen
from twisted.internet.task import Cooperator
from twisted.internet.threads import deferToThread

from canvas_collab.database.large_values import CHUNK_SIZE, read_in_chunks
from canvas_collab.database.pool import Database, Transaction
from canvas_collab.database.tables import Tables
from canvas_collab.document.document import Document
from canvas_collab.document.folding import DocumentDamaged, Snapshot
from canvas_collab.persistence.columns import make_snapshot
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.steps import Steps
from canvas_collab.protocol.update import read_update
from canvas_collab.scheduling import run

#: So many log entries are read, or marked as merged, in one statement at most.
PAGE_ENTRIES = 500

#: A snapshot of more bytes is verified and decoded in a thread: most of that releases the interpreter's lock.
LARGE_SNAPSHOT = 2**18

# The log entries with an id above some id; the updates beyond the page's limit of bytes are NULL.
_PAGE = """
    SELECT id, size, CASE WHEN total <= %(bytes)s THEN update END
      FROM (
          SELECT id, update, octet_length(update) AS size, sum(octet_length(update)) OVER (ORDER BY id) AS total
            FROM (
                SELECT id, update FROM {log}
                 WHERE document_id = %(id)s AND merged_at IS NULL AND id > %(after)s ORDER BY id LIMIT %(count)s
            ) AS next
      ) AS page
     ORDER BY id
"""

# One statement, so that it sees one state of the database: with two, an entry that is folded in between them would be
# in the result of neither.
_SNAPSHOT_AND_PAGE = f"""
    SELECT 0 AS id, octet_length(data) AS size, CASE WHEN octet_length(data) <= %(bytes)s THEN data END,
           layout, checksum, reset_at
      FROM {{documents}} WHERE id = %(id)s
    UNION ALL
    SELECT *, NULL, NULL, NULL FROM ({_PAGE}) AS entries
    ORDER BY id
"""

_REPEATABLE_READ = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;"
_HEAD = "SELECT octet_length(data), layout, checksum, reset_at FROM {documents} WHERE id = %s"
_SNAPSHOT_CHUNK = "SELECT substring(data FROM %(first)s FOR %(count)s) FROM {documents} WHERE id = %(key)s"
_ENTRY_CHUNK = "SELECT substring(update FROM %(first)s FOR %(count)s) FROM {log} WHERE id = %(key)s"

#: The ids and updates of some log entries.
Page = list[tuple[int, bytes]]


@frozen
class SnapshotAndLog:
    """What is stored of a document: its snapshot, the log entries that are not in that, the time of its last reset."""

    snapshot: Snapshot
    updates: list[bytes]
    reset_at: datetime | None


class DocumentReader:
    """The queries that read stored documents."""

    def __init__(self, tables: Tables) -> None:
        self._snapshot_and_page = tables.fill(_SNAPSHOT_AND_PAGE)
        self._head = _REPEATABLE_READ + tables.fill(_HEAD)
        self._page = tables.fill(_PAGE)
        self._snapshot_chunk = tables.fill(_SNAPSHOT_CHUNK)
        self._entry_chunk = tables.fill(_ENTRY_CHUNK)

    async def read_in_one_query(self, database: Database, document_id: str) -> SnapshotAndLog | None:
        """Read a document if it is small; return None if it has a large snapshot or update, or many of them."""
        values = {"id": document_id, "after": 0, "count": PAGE_ENTRIES, "bytes": CHUNK_SIZE}
        snapshot = Snapshot()
        reset_at = None
        updates = []
        for row_id, _, data, layout, checksum, row_reset_at in await database.query(self._snapshot_and_page, values):
            if data is None:
                return None
            if row_id == 0:
                snapshot = make_snapshot(bytes(data), layout, checksum)
                reset_at = row_reset_at
            else:
                updates.append(bytes(data))
        return None if len(updates) == PAGE_ENTRIES else SnapshotAndLog(snapshot, updates, reset_at)

    async def read_in_pages(self, transaction: Transaction, document_id: str) -> SnapshotAndLog:
        """Read a document of any size, as the first thing that `transaction` does."""
        snapshot = Snapshot()
        reset_at = None
        for *head, row_reset_at in await transaction.query(self._head, (document_id,)):
            snapshot = await self.read_snapshot(transaction, document_id, head)
            reset_at = row_reset_at
        updates: list[bytes] = []
        async for page in self.unmerged_entries(transaction, document_id):
            updates += [update for _, update in page]
        return SnapshotAndLog(snapshot, updates, reset_at)

    async def read_snapshot(self, transaction: Transaction, document_id: str, head: Sequence[Any]) -> Snapshot:
        """Read a document's snapshot.

        :param head: the size of its data, its layout and its checksum.
        """
        size, layout, checksum = head
        return make_snapshot(
            await read_in_chunks(transaction, self._snapshot_chunk, document_id, size), layout, checksum
        )

    async def unmerged_entries(self, transaction: Transaction, document_id: str) -> AsyncIterator[Page]:
        """Yield the document's log entries that are not in its snapshot, page by page."""
        after = 0
        values: dict[str, object] = {"id": document_id, "count": PAGE_ENTRIES, "bytes": CHUNK_SIZE}
        while True:
            rows = await transaction.query(self._page, {**values, "after": after})
            page = [(row_id, bytes(update)) for row_id, _, update in rows if update is not None]
            if rows and not page:
                row_id, size, _ = rows[0]
                page = [(row_id, await read_in_chunks(transaction, self._entry_chunk, row_id, size))]
            if page:
                yield page
                after = page[-1][0]
            if len(rows) < PAGE_ENTRIES and len(page) == len(rows):
                return


class DocumentBuilder:
    """Merges a snapshot and log entries into a document, interleaved with other work."""

    def __init__(self, cooperator: Cooperator) -> None:
        self.document = Document()
        self._cooperator = cooperator

    async def add_snapshot(self, snapshot: Snapshot) -> None:
        """Merge a snapshot into the document.

        :raises DocumentDamaged: if it does not match its checksum, or cannot be decoded.
        """
        runs = await deferToThread(snapshot.read) if snapshot.size > LARGE_SNAPSHOT else snapshot.read()
        await run(self._cooperator, self.document.merge(runs))

    async def add_updates(self, updates: Iterable[bytes]) -> None:
        """Merge log entries into the document.

        :raises DocumentDamaged: if one of them cannot be decoded.
        """
        try:
            await run(self._cooperator, _merge(self.document, updates))
        except Malformed as error:
            raise DocumentDamaged(f"an entry of the log cannot be read: {error}") from error


def _merge(document: Document, updates: Iterable[bytes]) -> Steps[None]:
    for data in updates:
        yield from document.merge((yield from read_update(data, None)))
        yield
