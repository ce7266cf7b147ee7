"""Appends entries to the log, each time with one statement, which is a transaction by itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen

from canvas_collab.database.bytea import ByteaArray
from canvas_collab.database.catalogue import Catalogue
from canvas_collab.database.direct import DirectConnection
from canvas_collab.database.errors import LockTimeout
from canvas_collab.database.large_values import CHUNK_SIZE, ChunkSender
from canvas_collab.database.literals import text_array
from canvas_collab.database.pool import Database, Row, Transaction
from canvas_collab.persistence.statements import (
    APPEND,
    APPEND_TYPES,
    LOCKED_DOCUMENTS,
    RESET_LOCK_TIMEOUT,
    SET_LOCK_TIMEOUT,
)

#: The name of the journal's own connection in PostgreSQL's ``pg_stat_activity``.
APPLICATION_NAME = "canvas-collab journal"


@frozen
class LogEntry:
    """An update to append to the log, and the id of the user who made it."""

    document_id: str
    user_id: str
    update: bytes


@frozen
class Appended:
    """The ids of the entries of a commit: the first, the last, and how many there are.

    Ids in between may belong to entries of other daemons.
    """

    first: int
    last: int
    count: int

    @property
    def is_contiguous(self) -> bool:
        """Whether there are no others' ids in between."""
        return self.last - self.first + 1 == self.count


class DocumentsLocked(Exception):
    """Entries cannot be appended now: another transaction has locked a row that they refer to.

    `documents` are the ids of the documents whose rows are locked.  It is empty if that is unknown: a user's row is
    locked, or that of a document which the other transaction is adding.
    """

    def __init__(self, documents: Iterable[str] = ()) -> None:
        super().__init__("another transaction has locked a row")
        self.documents = frozenset(documents)


def append_statement(catalogue: Catalogue) -> str:
    """Return the statement that appends entries to the log of this database."""
    return catalogue.tables.fill(APPEND, user_table=catalogue.user_table, user_id_type=catalogue.user_id_type)


def journal_connection(reactor: object, url: str, catalogue: Catalogue) -> DirectConnection:
    """Return a connection that appends to the log, and does nothing else."""
    return DirectConnection(reactor, url, APPLICATION_NAME, append_statement(catalogue), APPEND_TYPES)


class LogAppender:
    """Appends to the log on a connection of its own.

    A pool serves while that is not connected, and for what takes more than one statement: a large update, and finding
    out which documents are locked.
    """

    def __init__(self, database: Database, catalogue: Catalogue, direct: DirectConnection | None) -> None:
        """:param direct: the connection for :func:`append_statement`; None if the pool is to serve always."""
        self._database = database
        self._direct = direct
        self._append = append_statement(catalogue)
        self._locked_documents = catalogue.tables.fill(LOCKED_DOCUMENTS)

    async def append(self, entries: Sequence[LogEntry]) -> Appended:
        """Append entries, in their order, all or none, and return their ids.

        :raises ValuesRefused: if a constraint or a trigger refuses one of them.
        :raises DocumentsLocked: if another transaction has locked a row that one of them refers to.
        :raises DatabaseUnavailable: if the database cannot be reached.  If the connection was lost meanwhile, the
            entries may have been appended all the same.
        """
        try:
            return await self._insert(entries, SET_LOCK_TIMEOUT)
        except LockTimeout as error:
            if error.is_row_lock:
                document_ids = list({entry.document_id for entry in entries})
                rows = await self._database.query(self._locked_documents, {"ids": document_ids})
                raise DocumentsLocked(name for (name,) in rows) from error
        # A whole table is locked, so no document's entries can be appended until it is unlocked.
        return await self._insert(entries, RESET_LOCK_TIMEOUT)

    async def _insert(self, entries: Sequence[LogEntry], prefix: str) -> Appended:
        document_ids = [entry.document_id for entry in entries]
        user_ids = [entry.user_id for entry in entries]
        updates = [entry.update for entry in entries]

        async def insert_large(transaction: Transaction) -> list[Row]:
            sent = await ChunkSender(transaction).send(updates[0])
            return await transaction.query(prefix + self._append, (document_ids, user_ids, sent.as_array()))

        if len(updates) == 1 and len(updates[0]) > CHUNK_SIZE:
            [row] = await self._database.transaction(insert_large)
        elif self._direct is not None and self._direct.is_ready:
            values = text_array(document_ids), text_array(user_ids), ByteaArray(updates).getquoted()
            [row] = await self._direct.run(values, prefix.encode())
        else:
            [row] = await self._database.query(prefix + self._append, (document_ids, user_ids, ByteaArray(updates)))
        return Appended(*row)
