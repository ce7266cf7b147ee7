"""The operations on stored documents: load, append to the log, fold the log into the snapshot, and prune the log."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from attrs import frozen
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.task import Cooperator
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from canvas_collab.database.catalogue import Catalogue
from canvas_collab.database.direct import DirectConnection
from canvas_collab.database.large_values import ChunkSender
from canvas_collab.database.pool import Database, Transaction
from canvas_collab.document.document import Document
from canvas_collab.document.folding import Snapshot, fold, needs_compaction, with_checksum
from canvas_collab.persistence.appending import Appended, LogAppender
from canvas_collab.persistence.appending import DocumentsLocked as DocumentsLocked
from canvas_collab.persistence.appending import LogEntry as LogEntry
from canvas_collab.persistence.compactor import CompactionDeferred, CompactionFailed
from canvas_collab.persistence.loading import (
    PAGE_ENTRIES,
    DocumentBuilder,
    DocumentReader,
)
from canvas_collab.persistence.seen_ids import SeenIds
from canvas_collab.persistence.statements import (
    COMPACTION_STATE,
    LOCK_DOCUMENT,
    MARK_MERGED,
    PRUNE,
    RESET_AT,
    WRITE_COMPACTED_SIZE,
    WRITE_DELETIONS,
    WRITE_SNAPSHOT,
)
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.scheduling import run

#: The checksum of up to so many bytes is computed on the reactor's thread: handing it to another takes longer.
SMALL_SNAPSHOT = 2**16


@frozen
class StoredDocument:
    """A document as it was read from the database.

    `snapshot_size` and `unmerged_size` are the bytes of its snapshot and of the log entries that are not in that yet.
    `reset_at` is the time of its last reset, or None if it was never reset.
    """

    document: Document
    snapshot_size: int
    unmerged_size: int
    reset_at: datetime | None


@frozen
class FoldResult:
    """What folding has done: the number of entries merged, the snapshot's new size, and whether it was compacted."""

    entries: int
    size: int
    compacted: bool


#: Compacts a document; takes the document, and the deletions whose content may be dropped.
Compact = Callable[[Document, DeleteSet], Awaitable[Document]]


@frozen
class _Compacted:
    """A document that was compacted before its row is locked.

    `deletions` are the encoded deletions to remember, or None if those that are stored stay.  `reset_at` is the time of
    the last reset when the document was read.
    """

    document: Document
    deletions: bytes | None
    reset_at: datetime | None


class DocumentStore:
    """The tables ``yjs_document`` and ``yjs_update_log``.

    Every method raises :exc:`~canvas_collab.database.errors.DatabaseUnavailable` if the database cannot be reached.
    """

    log = Logger()

    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        compact: Compact,
        retention: float,
        journal_database: Database,
        cooperator: Cooperator,
        journal_connection: DirectConnection | None = None,
    ) -> None:
        """:param retention: for how many seconds deleted content and the log's entries are kept.
        :param journal_database: the pool that :meth:`append` uses.
        :param cooperator: interleaves reading and merging documents with other work.
        :param journal_connection: the connection that :meth:`append` uses instead of the pool where it can.
        """
        self._database = database
        self._fill = catalogue.tables.fill
        self._appender = LogAppender(journal_database, catalogue, journal_connection)
        #: Called with what was appended, after each commit.
        self.on_append: Callable[[Appended, Sequence[LogEntry]], None] = lambda appended, entries: None
        self._reader = DocumentReader(catalogue.tables)
        #: Identifies this daemon in the notifications of appends.
        self.origin = secrets.token_hex(8)
        #: The log entries that this daemon has appended or read.
        self.seen = SeenIds()
        self._cooperator = cooperator
        self._compact = compact
        self._folding = DeferredSemaphore(1)
        self._reading = DeferredSemaphore(1)
        self._retention = retention

    async def load(self, document_id: str) -> StoredDocument:
        """Read a document.  One that is not stored is empty.

        :raises DocumentDamaged: if the snapshot does not match its checksum, or something cannot be decoded.
        """
        stored = await self._reader.read_in_one_query(self._database, document_id)
        if stored is None:
            # One large document at a time, and merging only after its transaction: others need the pool's connections.
            stored = await self._reading.run(
                lambda: Deferred.fromCoroutine(
                    self._database.transaction(lambda transaction: self._reader.read_in_pages(transaction, document_id))
                )
            )
        builder = DocumentBuilder(self._cooperator)
        await builder.add_snapshot(stored.snapshot)
        await builder.add_updates(stored.updates)
        unmerged_size = sum(map(len, stored.updates))
        return StoredDocument(builder.document, stored.snapshot.size, unmerged_size, stored.reset_at)

    async def append(self, entries: Sequence[LogEntry]) -> None:
        """Append entries to the log, in their order, all or none; raises as :meth:`.LogAppender.append` does."""
        appended = await self._appender.append(entries)
        if appended.is_contiguous:
            # Otherwise ids of other daemons' entries are among these.
            self.seen.add(appended.first, appended.last)
        self.on_append(appended, entries)

    async def fold(self, document_id: str, compact: bool) -> FoldResult:
        """Merge the document's log entries into its snapshot, and compact that if it is worth it.

        The entries that are stored at that moment are merged, whoever has appended them, so several daemons on one
        database can fold a document in any order and lose nothing.

        :param compact: whether there is time to compact.
        :raises DocumentDamaged: if the snapshot does not match its checksum, or something cannot be decoded.
        :raises LockTimeout: if another transaction has locked the document, and does not end in time.
        """
        compacted = await self._compact_stored(document_id) if compact else None

        async def steps(transaction: Transaction) -> FoldResult:
            heads = await transaction.query(self._fill(LOCK_DOCUMENT), (document_id,))
            if not heads:
                # It is not stored, or its first entries are being committed right now and will be folded later.
                return FoldResult(0, 0, False)
            usable = compacted
            if compacted and await transaction.query(self._fill(RESET_AT), (document_id,)) != [(compacted.reset_at,)]:
                # The compacted document has content that was removed since.
                usable = None
            ids: list[int] = []
            builder = DocumentBuilder(self._cooperator)
            async for page in self._reader.unmerged_entries(transaction, document_id):
                if not ids:
                    await builder.add_snapshot(await self._reader.read_snapshot(transaction, document_id, heads[0]))
                await builder.add_updates([update for _, update in page])
                ids += [row_id for row_id, _ in page]
            if not (ids or usable):
                return FoldResult(0, 0, False)
            if not ids:
                await builder.add_snapshot(await self._reader.read_snapshot(transaction, document_id, heads[0]))
            folded = await run(self._cooperator, fold(usable.document if usable else None, builder.document))
            is_large = folded.size > SMALL_SNAPSHOT
            folded = await deferToThread(with_checksum, folded) if is_large else with_checksum(folded)
            sender = ChunkSender(transaction)
            await self._write(transaction, sender, document_id, folded)
            if usable:
                await transaction.execute(self._fill(WRITE_COMPACTED_SIZE), (document_id,))
                if usable.deletions is not None:
                    deletions = await sender.parameter(usable.deletions)
                    await transaction.execute(self._fill(WRITE_DELETIONS), (deletions, document_id))
            for start in range(0, len(ids), PAGE_ENTRIES):
                await transaction.execute(self._fill(MARK_MERGED), (ids[start : start + PAGE_ENTRIES],))
            return FoldResult(len(ids), folded.size, usable is not None)

        # One document at a time: the pool's other connections stay free for opening documents.
        return await self._folding.run(lambda: Deferred.fromCoroutine(self._database.transaction(steps)))

    async def prune(self, limit: int, min_retention: float) -> int:
        """Delete log entries that have been in a snapshot for longer than the retention, and return how many.

        :param limit: how many are deleted at most.
        :param min_retention: for how many seconds they are kept even if the retention is shorter.
        """
        return len(await self._database.query(self._fill(PRUNE), (self._retention, min_retention, limit)))

    async def _compact_stored(self, document_id: str) -> _Compacted | None:
        """Compact what is stored of a document, if it is worth it, without locking anything."""
        rows = await self._database.query(self._fill(COMPACTION_STATE), (self._retention, document_id))
        if not rows:
            return None
        size, compacted_size, deletions, is_retention_over, reset_at = rows[0]
        if not is_retention_over and not needs_compaction(size, compacted_size):
            return None
        stored = await self.load(document_id)
        droppable = DeleteSet.decode(bytes(deletions)) if is_retention_over else DeleteSet()
        try:
            document = await self._compact(stored.document, droppable)
        except CompactionDeferred:
            return None
        except CompactionFailed as error:
            self.log.error("compaction failed", room=document_id, reason=str(error))
            return None
        # The content of the deletions that are remembered now is dropped when they are as old as the retention.
        remembered = stored.document.deletions.encode() if is_retention_over or deletions is None else None
        return _Compacted(document, remembered, reset_at)

    async def _write(self, transaction: Transaction, sender: ChunkSender, document_id: str, snapshot: Snapshot) -> None:
        columns = snapshot.data, snapshot.layout or b"", snapshot.checksum or b""
        await transaction.execute(
            self._fill(WRITE_SNAPSHOT), (*[await sender.parameter(column) for column in columns], document_id)
        )
