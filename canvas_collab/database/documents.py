"""The stored documents: loading one, appending updates to its log, and folding the log into its snapshot."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import psycopg2
from attrs import frozen
from twisted.internet.threads import deferToThread

from canvas_collab.database.catalogue import Catalogue
from canvas_collab.database.pool import Cursor, Database
from canvas_collab.document import merge_updates
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.update import EMPTY_UPDATE, decode_update


class DocumentDamaged(Exception):
    """What is stored of a document is not what was written; its bytes are left as they are."""


@frozen
class LogEntry:
    """An update that is to be kept, and who made it."""

    document_id: str
    user_id: str
    update: bytes


@frozen
class StoredDocument:
    """A document as it is stored: its snapshot and the updates that are not in that yet."""

    snapshot: bytes
    unmerged: Sequence[bytes]


# One statement, so that it sees one state of the database: with two, a row that a snapshot takes in between them
# would be in neither answer.
_LOAD = """
    SELECT 0 AS id, data, checksum FROM yjs_document WHERE id = %(id)s
    UNION ALL
    SELECT id, update, NULL FROM yjs_update_log WHERE document_id = %(id)s AND merged_at IS NULL
    ORDER BY id
"""

# The join gives up the name, and keeps the edit, of a user whose account was deleted in the meantime.
_APPEND = """
    WITH batch AS (
        SELECT * FROM unnest(%s::text[], %s::text[]::{user_id_type}[], %s::bytea[])
            WITH ORDINALITY AS entry (document_id, user_id, update, position)
    ), created AS (
        INSERT INTO yjs_document (id, data)
        SELECT DISTINCT document_id, '\\x0000'::bytea FROM batch ORDER BY document_id
        ON CONFLICT (id) DO NOTHING
    )
    INSERT INTO yjs_update_log (document_id, user_id, update)
    SELECT batch.document_id, author.id, batch.update
      FROM batch LEFT JOIN {user_table} AS author ON author.id = batch.user_id
     ORDER BY batch.position
"""

# The lock leaves room for appending: a foreign key needs no more than FOR KEY SHARE of the document's row.
_LOCK_SNAPSHOT = "SELECT data, checksum FROM yjs_document WHERE id = %s FOR NO KEY UPDATE"

_UNMERGED = "SELECT id, update FROM yjs_update_log WHERE document_id = %s AND merged_at IS NULL ORDER BY id"

_WRITE_SNAPSHOT = "UPDATE yjs_document SET data = %s, checksum = %s, updated_at = now() WHERE id = %s"

# Exactly the rows that were read: ids become visible out of order, so "all below" could mark a row nobody has merged.
_MARK_MERGED = "UPDATE yjs_update_log SET merged_at = now() WHERE id = ANY(%s)"


class DocumentStore:
    """The tables ``yjs_document`` and ``yjs_update_log``.

    Every method raises :exc:`~canvas_collab.database.pool.DatabaseUnavailable` if the database cannot be reached.
    """

    def __init__(self, database: Database, catalogue: Catalogue) -> None:
        self._database = database
        self._append = _APPEND.format(user_table=catalogue.user_table, user_id_type=catalogue.user_id_type)

    async def load(self, document_id: str) -> StoredDocument:
        """What is stored of a document; one that is not stored is empty.

        :raises DocumentDamaged: if the snapshot does not match its checksum.
        """
        rows = await self._database.query(_LOAD, {"id": document_id})
        snapshot = EMPTY_UPDATE
        unmerged = []
        for row_id, data, checksum in rows:
            if row_id == 0:
                snapshot = _checked(document_id, bytes(data), checksum)
            else:
                unmerged.append(bytes(data))
        return StoredDocument(snapshot, unmerged)

    async def append(self, entries: Sequence[LogEntry]) -> None:
        """Append entries to the log, in their order, all or none."""
        await self._database.execute(
            self._append,
            (
                [entry.document_id for entry in entries],
                [entry.user_id for entry in entries],
                [psycopg2.Binary(entry.update) for entry in entries],
            ),
        )

    async def write_snapshot(self, document_id: str) -> int:
        """Fold what the log has of a document into its snapshot, and return how many entries that were.

        Whatever is stored at that moment is merged, whoever wrote it, so that several daemons on one database can do
        this in any order and lose nothing.

        :raises DocumentDamaged: if the snapshot does not match its checksum, or an entry is no update.
        """

        async def steps(cursor: Cursor) -> int:
            rows = await cursor.query(_LOCK_SNAPSHOT, (document_id,))
            entries = await cursor.query(_UNMERGED, (document_id,))
            if not rows or not entries:
                return 0
            [(data, checksum)] = rows
            snapshot = _checked(document_id, bytes(data), checksum)
            updates = [bytes(update) for _, update in entries]
            try:
                merged, digest = await deferToThread(_merge, snapshot, updates)
            except Malformed as error:
                raise DocumentDamaged(f"{document_id}: what is stored cannot be merged") from error
            await cursor.execute(_WRITE_SNAPSHOT, (psycopg2.Binary(merged), psycopg2.Binary(digest), document_id))
            await cursor.execute(_MARK_MERGED, ([row_id for row_id, _ in entries],))
            return len(entries)

        return await self._database.transaction(steps)


def _merge(snapshot: bytes, updates: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The new snapshot and its checksum."""
    merged = merge_updates(map(decode_update, (snapshot, *updates)))
    return merged, hashlib.sha256(merged).digest()


def _checked(document_id: str, data: bytes, checksum: memoryview | None) -> bytes:
    if checksum is not None and hashlib.sha256(data).digest() != bytes(checksum):
        raise DocumentDamaged(f"{document_id}: the snapshot does not match its checksum")
    return data
