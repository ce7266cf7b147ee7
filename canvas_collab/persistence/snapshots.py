"""The flusher: folds the log of a document into its snapshot, once it rests, or has not rested for too long.

Everything is in the log already, so this is never urgent; and a snapshot is written whole.  So a large document waits
until its log has grown to some part of it: what is written to the database stays in proportion to what was edited.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from attrs import define
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from canvas_collab.persistence.store import Folded

#: How often the flusher looks, in parts of the debounce time.
LOOKS_PER_DEBOUNCE = 4

#: How many snapshots are made at once: more than may wait for compaction, so that those hold up no other.
AT_ONCE = 4

#: A document whose snapshot has up to so many bytes is folded however little there is to fold.
SMALL = 64 * 2**10

#: A larger one is folded when its log has this part of its size, while people are in it and when they have left.
SHARE_WHILE_BUSY = 1 / 8
SHARE_WHEN_IDLE = 1 / 64


@define
class _Change:
    """When a document changed, for the first time since its last snapshot and for the last, and by how many bytes."""

    first: float
    last: float
    size: int


class Snapshots(Service):
    """Knows which documents have log entries that are not in their snapshot, and takes care of them."""

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        fold: Callable[[str, bool], Awaitable[Folded]],
        debounce: float,
        max_wait: float,
    ) -> None:
        """:param fold: writes one document's snapshot; takes whether there is time to compact it.
        :param debounce: a document that has not changed for so many seconds is written.
        :param max_wait: one that goes on changing is written after so many.
        """
        self._reactor = reactor
        self._fold = fold
        self._debounce = debounce
        self._max_wait = max_wait
        self._changes: dict[str, _Change] = {}
        self._sizes: dict[str, int] = {}
        self._locks: dict[str, DeferredLock] = {}
        self._slots = DeferredSemaphore(AT_ONCE)
        self._flusher = LoopingCall(self._look)
        self._flusher.clock = reactor

    def startService(self) -> None:
        """Begin to look."""
        Service.startService(self)
        self._flusher.start(self._debounce / LOOKS_PER_DEBOUNCE, now=False)

    def stopService(self) -> None:
        """Stop looking.  What is still to be written can be, with :meth:`write_all`."""
        Service.stopService(self)
        self._flusher.stop()

    def loaded(self, document_id: str, snapshot_size: int, unmerged_size: int) -> None:
        """A document has been loaded, with a snapshot of some size and log entries that are not in that."""
        self._sizes[document_id] = snapshot_size
        if unmerged_size:
            # Not added to what is known of a change: those entries may be the same.
            now = self._reactor.seconds()
            change = self._changes.setdefault(document_id, _Change(now, now, 0))
            change.size = max(change.size, unmerged_size)

    def changed(self, sizes: Mapping[str, int]) -> None:
        """These documents have so many bytes more in their log."""
        now = self._reactor.seconds()
        for document_id, size in sizes.items():
            change = self._changes.setdefault(document_id, _Change(now, now, 0))
            change.last = now
            change.size += size

    async def unloaded(self, document_id: str) -> None:
        """The last one has left a document: write its snapshot, if that is worth it, and forget it.

        :raises Exception: whatever folding raised; the document then still counts as changed.
        """
        if document_id in self._changes and not self._is_worth(document_id, SHARE_WHEN_IDLE):
            del self._changes[document_id]
        await self.write(document_id)
        if document_id not in self._changes:
            self._sizes.pop(document_id, None)

    async def write(self, document_id: str, compact: bool = True) -> None:
        """Write a document's snapshot now, if it has changed since the last one.

        :raises Exception: whatever folding raised; the document then still counts as changed.
        """
        lock = self._locks.setdefault(document_id, DeferredLock())
        await lock.acquire()
        try:
            if document_id in self._changes:
                await self._slots.run(lambda: Deferred.fromCoroutine(self._write_changed(document_id, compact)))
        finally:
            lock.release()
            if not lock.locked and not lock.waiting:
                self._locks.pop(document_id, None)

    async def write_all(self) -> None:
        """Write every document that has changed by as much as is worth it, and wait for those that are being written.

        Failures are logged.
        """
        for document_id in [*self._changes, *self._locks]:
            # Others write, too, while one of them is waited for.
            has_changed = document_id in self._changes and self._is_worth(document_id, SHARE_WHEN_IDLE)
            if has_changed or document_id in self._locks:
                await self._attempt(document_id, compact=False)

    def _is_worth(self, document_id: str, share: float) -> bool:
        size = self._sizes.get(document_id, 0)
        return size <= SMALL or self._changes[document_id].size >= size * share

    async def _write_changed(self, document_id: str, compact: bool) -> None:
        change = self._changes.pop(document_id)
        started = self._reactor.seconds()
        try:
            folded = await self._fold(document_id, compact)
        except BaseException:
            newer = self._changes.get(document_id)
            # The wait begins again, so that a document that cannot be written does not take all the time there is.
            now = self._reactor.seconds()
            self._changes[document_id] = _Change(now, change.last, change.size + (newer.size if newer else 0))
            raise
        if folded.entries or folded.compacted:
            self._sizes[document_id] = folded.size
        self.log.debug(
            "snapshot written",
            room=document_id,
            entries=folded.entries,
            size=folded.size,
            compacted=folded.compacted,
            seconds=self._reactor.seconds() - started,
        )

    def _look(self) -> None:
        now = self._reactor.seconds()
        for document_id, change in list(self._changes.items()):
            rested = now - max(change.last, change.first) >= self._debounce
            due = rested or now - change.first >= self._max_wait
            if due and document_id not in self._locks and self._is_worth(document_id, SHARE_WHILE_BUSY):
                Deferred.fromCoroutine(self._attempt(document_id, compact=True))

    async def _attempt(self, document_id: str, compact: bool) -> None:
        try:
            await self.write(document_id, compact)
        except Exception as error:
            self.log.error("snapshot failed", room=document_id, reason=str(error))
