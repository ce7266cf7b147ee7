"""The stored documents: loading one, appending updates to its log, and folding the log into its snapshot."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime

from attrs import frozen
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.task import Cooperator
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from canvas_collab.database.bytea import ByteaArray
from canvas_collab.database.catalogue import Catalogue
from canvas_collab.database.chunks import PIECE, ChunkSender
from canvas_collab.database.pool import Cursor, Database, Locked, Row
from canvas_collab.document.document import Document
from canvas_collab.document.folding import Snapshot, fold, needs_compaction, with_checksum
from canvas_collab.persistence.compactor import CompactionDeferred, CompactionFailed
from canvas_collab.persistence.loading import (
    AT_A_TIME,
    Merging,
    entries,
    read_large_document,
    read_small_document,
    read_snapshot,
    small_document_query,
)
from canvas_collab.persistence.seen_ids import SeenIds
from canvas_collab.persistence.statements import (
    APPEND,
    LOCK,
    LOCKED,
    LOG_CHANNEL,
    MARK_MERGED,
    PATIENCE,
    PRUNE,
    RESET_AT,
    WORTH_COMPACTING,
    WRITE_COMPACTED,
    WRITE_DELETIONS,
    WRITE_SNAPSHOT,
)
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.scheduling import run

#: The checksum of so many bytes takes less time than to have a thread work it out.
SMALL = 2**16


@frozen
class LogEntry:
    """An update that is to be kept, and who made it."""

    document_id: str
    user_id: str
    update: bytes


class DocumentsLocked(Exception):
    """Entries cannot be kept now since somebody else holds a row's lock: that of `documents`, if it is known which."""

    def __init__(self, documents: Iterable[str] = ()) -> None:
        super().__init__("somebody else has locked a row")
        self.documents = frozenset(documents)


@frozen
class StoredDocument:
    """A document as it was stored; `snapshot_size` and `unmerged_size` are the bytes of its snapshot, and of its log
    entries that are not in that yet; `reset_at` is when it had been made anew the last time, if it ever was.
    """

    document: Document
    snapshot_size: int
    unmerged_size: int
    reset_at: datetime | None = None


@frozen
class Folded:
    """What folding did: how many entries went into the snapshot, how large that is now, whether it was compacted."""

    entries: int
    size: int
    compacted: bool


#: Compacts a document; takes the deletions whose content may go.
Compact = Callable[[Document, DeleteSet], Awaitable[Document]]


class DocumentStore:
    """The tables ``yjs_document`` and ``yjs_update_log``.

    Every method raises :exc:`~canvas_collab.database.pool.DatabaseUnavailable` if the database cannot be reached.
    """

    log = Logger()

    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        compact: Compact,
        retention: float,
        journal_database: Database | None = None,
        cooperator: Cooperator | None = None,
    ) -> None:
        """:param retention: for how many seconds what was deleted, and who edited what, can be looked up.
        :param journal_database: where the journal's connections are not those of everything else.
        :param cooperator: what documents are read in, in turns with other work.
        """
        self._database = database
        self._journal_database = journal_database or database
        self._append = APPEND.format(
            user_table=catalogue.user_table, user_id_type=catalogue.user_id_type, channel=LOG_CHANNEL
        )
        #: By this others know what this daemon has added.
        self.origin = secrets.token_hex(8)
        #: What of the log need not be looked at.
        self.seen = SeenIds()
        self._cooperator = cooperator or Cooperator()
        self._compact = compact
        self._folding = DeferredSemaphore(1)
        self._reading = DeferredSemaphore(1)
        self._retention = retention

    async def load(self, document_id: str) -> StoredDocument:
        """A document; one that is not stored is empty.

        :raises DocumentDamaged: if the snapshot does not match its checksum, or something cannot be read.
        """
        stored = read_small_document(await self._database.query(*small_document_query(document_id)))
        if stored is None:
            # One at a time, and nothing is worked out meanwhile: others want the connections.
            stored = await self._reading.run(
                lambda: Deferred.fromCoroutine(
                    self._database.transaction(lambda cursor: read_large_document(cursor, document_id))
                )
            )
        merging = Merging(self._cooperator)
        await merging.begin(stored.snapshot)
        await merging.add(stored.updates)
        unmerged_size = sum(map(len, stored.updates))
        return StoredDocument(merging.document, stored.snapshot.size, unmerged_size, stored.reset_at)

    async def append(self, entries: Sequence[LogEntry]) -> None:
        """Append entries to the log, in their order, all or none.

        :raises DocumentsLocked: if somebody else holds the lock of a row that one of them refers to.
        """
        document_ids = [entry.document_id for entry in entries]
        user_ids = [entry.user_id for entry in entries]
        updates = [entry.update for entry in entries]

        async def add(patience: str) -> Row:
            if len(updates) == 1 and len(updates[0]) > PIECE:
                [row] = await self._journal_database.transaction(lambda cursor: add_large(cursor, patience))
            else:
                values = document_ids, user_ids, ByteaArray(updates), self.origin
                [row] = await self._journal_database.query(patience + self._append, values)
            return row

        async def add_large(cursor: Cursor, patience: str) -> list[Row]:
            sent = await ChunkSender(cursor).send(updates[0])
            return await cursor.query(patience + self._append, (document_ids, user_ids, sent.array(), self.origin))

        try:
            first, last, count, _ = await add(PATIENCE)
        except Locked as error:
            if error.is_row:
                locked = await self._journal_database.query(LOCKED, {"ids": list(set(document_ids))})
                raise DocumentsLocked(name for (name,) in locked) from error
            # A whole table is locked: there is nothing that could be kept meanwhile.
            first, last, count, _ = await add("")
        if last - first + 1 == count:
            # Otherwise somebody else's are among them.
            self.seen.add(first, last)

    async def fold(self, document_id: str, compact: bool = True) -> Folded:
        """Fold what the log has of a document into its snapshot, and compact that where it is worth it.

        :param compact: whether there is time for that.

        Whatever is stored at that moment is merged, whoever wrote it, so that several daemons on one database can do
        this in any order and lose nothing.

        :raises DocumentDamaged: if the snapshot does not match its checksum, or something cannot be read.
        :raises Locked: if somebody else has locked the document, and is not quick.
        """
        ready = await self._prepare(document_id) if compact else None

        async def steps(cursor: Cursor) -> Folded:
            heads = await cursor.query(LOCK, (document_id,))
            if not heads:
                # It may be added in this moment: later, then.
                return Folded(0, 0, False)
            prepared = ready
            if ready and await cursor.query(RESET_AT, (document_id,)) != [(ready.reset_at,)]:
                # What was compacted holds what has been taken out since.
                prepared = None
            ids: list[int] = []
            merging = Merging(self._cooperator)
            async for page in entries(cursor, document_id):
                if not ids:
                    await merging.begin(await read_snapshot(cursor, document_id, heads[0]))
                await merging.add([update for _, update in page])
                ids += [row_id for row_id, _ in page]
            if not (ids or prepared):
                return Folded(0, 0, False)
            if not ids:
                await merging.begin(await read_snapshot(cursor, document_id, heads[0]))
            folded = await run(self._cooperator, fold(prepared.document if prepared else None, merging.document))
            is_large = folded.size > SMALL
            folded = await deferToThread(with_checksum, folded) if is_large else with_checksum(folded)
            sender = ChunkSender(cursor)
            await _write(cursor, sender, document_id, folded)
            if prepared:
                await cursor.execute(WRITE_COMPACTED, (document_id,))
                if prepared.deletions is not None:
                    await cursor.execute(WRITE_DELETIONS, (await sender.value(prepared.deletions), document_id))
            for start in range(0, len(ids), AT_A_TIME):
                await cursor.execute(MARK_MERGED, (ids[start : start + AT_A_TIME],))
            return Folded(len(ids), folded.size, prepared is not None)

        # One at a time; the pool's other connections stay free for sessions and the journal.
        return await self._folding.run(lambda: Deferred.fromCoroutine(self._database.transaction(steps)))

    async def prune(self, limit: int, at_least: float = 0.0) -> int:
        """Delete entries of the log, at most `limit`, that have been history for long enough; returns how many.

        :param at_least: for how many seconds they stay however short the retention is.
        """
        return len(await self._database.query(PRUNE, (self._retention, at_least, limit)))

    async def _prepare(self, document_id: str) -> _Prepared | None:
        """Compact what is stored, if that is worth it, before anything is locked."""
        rows = await self._database.query(WORTH_COMPACTING, (self._retention, document_id))
        if not rows:
            return None
        size, compacted_size, deletions, is_ripe, reset_at = rows[0]
        if not is_ripe and not needs_compaction(size, compacted_size):
            return None
        stored = await self.load(document_id)
        droppable = DeleteSet.decode(bytes(deletions)) if is_ripe else DeleteSet()
        try:
            document = await self._compact(stored.document, droppable)
        except CompactionDeferred:
            return None
        except CompactionFailed as error:
            self.log.error("compaction failed", room=document_id, reason=str(error))
            return None
        # The deletions that are known now are the next that can go, when their time has come.
        remembered = stored.document.deletions.encode() if is_ripe or deletions is None else None
        return _Prepared(document, remembered, reset_at)


async def _write(cursor: Cursor, sender: ChunkSender, document_id: str, snapshot: Snapshot) -> None:
    """Write a document's snapshot."""
    columns = snapshot.data, snapshot.layout or b"", snapshot.checksum or b""
    await cursor.execute(WRITE_SNAPSHOT, (*[await sender.value(column) for column in columns], document_id))


@frozen
class _Prepared:
    """A compacted document, the deletions to be remembered, encoded, if it is time for that, and when what is stored
    was made anew the last time before it was read.
    """

    document: Document
    deletions: bytes | None
    reset_at: datetime | None
