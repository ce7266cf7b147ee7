"""Reading a stored document, however large it is or long its log: page by page, and others have turns in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Any

from attrs import frozen
from twisted.internet.task import Cooperator
from twisted.internet.threads import deferToThread

from canvas_collab.database.large_values import CHUNK_SIZE, read_in_chunks
from canvas_collab.database.pool import Row, Transaction
from canvas_collab.document.document import Document
from canvas_collab.document.folding import DocumentDamaged, Snapshot
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.steps import Steps
from canvas_collab.protocol.update import read_update
from canvas_collab.scheduling import run

#: So many entries of the log are read, or marked, in one statement, and about so many bytes.
AT_A_TIME = 500

#: A snapshot of more bytes is checked and read in a thread: most of that happens outside the interpreter.
LARGE = 2**18

# Entries from some id on, without those bytes that would be too many at a time.
_PAGE = """
    SELECT id, size, CASE WHEN total <= %(bytes)s THEN update END
      FROM (
          SELECT id, update, octet_length(update) AS size, sum(octet_length(update)) OVER (ORDER BY id) AS total
            FROM (
                SELECT id, update FROM yjs_update_log
                 WHERE document_id = %(id)s AND merged_at IS NULL AND id > %(after)s ORDER BY id LIMIT %(count)s
            ) AS next
      ) AS page
     ORDER BY id
"""

# One statement, so that it sees one state of the database: with two, a row that a snapshot takes in between them
# would be in neither answer.
_ALL_OF_A_SMALL_ONE = f"""
    SELECT 0 AS id, octet_length(data) AS size, CASE WHEN octet_length(data) <= %(bytes)s THEN data END,
           layout, checksum, reset_at
      FROM yjs_document WHERE id = %(id)s
    UNION ALL
    SELECT *, NULL, NULL, NULL FROM ({_PAGE}) AS entries
    ORDER BY id
"""

_ONE_STATE = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;"
_HEAD = "SELECT octet_length(data), layout, checksum, reset_at FROM yjs_document WHERE id = %s"
_SNAPSHOT_CHUNK = "SELECT substring(data FROM %(first)s FOR %(count)s) FROM yjs_document WHERE id = %(key)s"
_ENTRY_CHUNK = "SELECT substring(update FROM %(first)s FOR %(count)s) FROM yjs_update_log WHERE id = %(key)s"

#: Entries of the log, by their ids.
Page = list[tuple[int, bytes]]


@frozen
class Stored:
    """All that is stored of a document, and when it was made anew the last time, if it ever was."""

    snapshot: Snapshot
    updates: list[bytes]
    reset_at: datetime | None


def small_document_query(document_id: str) -> tuple[str, dict[str, object]]:
    """A statement that answers all of a document, if that is not much."""
    return _ALL_OF_A_SMALL_ONE, {"id": document_id, "after": 0, "count": AT_A_TIME, "bytes": CHUNK_SIZE}


def read_small_document(rows: list[Row]) -> Stored | None:
    """What that statement has answered; None where there is more."""
    snapshot = Snapshot()
    reset_at = None
    updates = []
    for row_id, _, data, layout, checksum, made_anew in rows:
        if data is None:
            return None
        if row_id == 0:
            snapshot = make_snapshot(bytes(data), layout, checksum)
            reset_at = made_anew
        else:
            updates.append(bytes(data))
    return None if len(updates) == AT_A_TIME else Stored(snapshot, updates, reset_at)


async def read_large_document(transaction: Transaction, document_id: str) -> Stored:
    """All that is stored of a document, in a transaction that has just begun."""
    snapshot = Snapshot()
    reset_at = None
    for *head, made_anew in await transaction.query(_ONE_STATE + _HEAD, (document_id,)):
        snapshot = await read_snapshot(transaction, document_id, head)
        reset_at = made_anew
    updates: list[bytes] = []
    async for page in entries(transaction, document_id):
        updates += [update for _, update in page]
    return Stored(snapshot, updates, reset_at)


async def read_snapshot(transaction: Transaction, document_id: str, head: Sequence[Any]) -> Snapshot:
    """A document's snapshot; takes its size, its layout and its checksum."""
    size, layout, checksum = head
    return make_snapshot(await read_in_chunks(transaction, _SNAPSHOT_CHUNK, document_id, size), layout, checksum)


async def entries(transaction: Transaction, document_id: str) -> AsyncIterator[Page]:
    """The log's entries of a document that are not in its snapshot, page by page."""
    after = 0
    values: dict[str, object] = {"id": document_id, "count": AT_A_TIME, "bytes": CHUNK_SIZE}
    while True:
        rows = await transaction.query(_PAGE, {**values, "after": after})
        page = [(row_id, bytes(update)) for row_id, _, update in rows if update is not None]
        if rows and not page:
            row_id, size, _ = rows[0]
            page = [(row_id, await read_in_chunks(transaction, _ENTRY_CHUNK, row_id, size))]
        if page:
            yield page
            after = page[-1][0]
        if len(rows) < AT_A_TIME and len(page) == len(rows):
            return


def make_snapshot(data: bytes, layout: memoryview | None, checksum: memoryview | None) -> Snapshot:
    """A snapshot of the columns that hold it."""
    return Snapshot(data, None if layout is None else bytes(layout), None if checksum is None else bytes(checksum))


class Merging:
    """A document that is being put together, in turns with other work."""

    def __init__(self, cooperator: Cooperator) -> None:
        self.document = Document()
        self._cooperator = cooperator

    async def begin(self, snapshot: Snapshot) -> None:
        """It begins with its snapshot.

        :raises DocumentDamaged: if that cannot be read.
        """
        held = await deferToThread(snapshot.read) if snapshot.size > LARGE else snapshot.read()
        await run(self._cooperator, self.document.merge(held))

    async def add(self, updates: Iterable[bytes]) -> None:
        """Then come these entries of its log.

        :raises DocumentDamaged: if one cannot be read.
        """
        try:
            await run(self._cooperator, _add(self.document, updates))
        except Malformed as error:
            raise DocumentDamaged(f"an entry of the log cannot be read: {error}") from error


def _add(document: Document, updates: Iterable[bytes]) -> Steps[None]:
    for data in updates:
        yield from document.merge((yield from read_update(data, None)))
        yield
