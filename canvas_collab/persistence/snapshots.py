"""Decides when the log of a document is folded into its snapshot.

That is when the document has not changed for the debounce time, or has kept changing for the maximum wait.  It is never
urgent, since the log has every update; and a snapshot is always written whole.  So the log of a large document is
folded only when it has grown to some fraction of the snapshot, which keeps what is written to the database in
proportion to what was edited.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from attrs import define
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from canvas_collab.counters import Counters
from canvas_collab.persistence.store import FoldResult

#: How many times in each debounce time it is checked which snapshots are due.
CHECKS_PER_DEBOUNCE = 4

#: How many snapshots are made at once: more than there are processes that compact, so that snapshots which wait for
#: those do not delay all others.
MAX_CONCURRENT = 4

#: A document whose snapshot has up to so many bytes is folded however little its log has.
SMALL_SNAPSHOT = 64 * 2**10

#: A larger document is folded when its log has this fraction of the snapshot's size: while it is open, and when the
#: last client has closed it or the daemon stops.
OPEN_FRACTION = 1 / 8
CLOSED_FRACTION = 1 / 64


@define
class _Change:
    """The changes of a document since its last snapshot: the times of the first and of the last, and their bytes."""

    first: float
    last: float
    size: int


class Snapshots(Service):
    """Keeps track of the documents with log entries that are not in their snapshot, and writes snapshots when due."""

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        fold: Callable[[str, bool], Awaitable[FoldResult]],
        debounce: float,
        max_wait: float,
        counters: Counters,
    ) -> None:
        """:param fold: folds the log of a document; takes its id, and whether there is time to compact it.
        :param debounce: a snapshot is due when its document has not changed for so many seconds.
        :param max_wait: a snapshot is due so many seconds after the first change at the latest.
        """
        self._reactor = reactor
        self._fold = fold
        self._debounce = debounce
        self._max_wait = max_wait
        self._counters = counters
        self._changes: dict[str, _Change] = {}
        self._sizes: dict[str, int] = {}
        # The documents whose snapshots are being written, and what fires when that has ended.
        self._writing: dict[str, list[Deferred[None]]] = {}
        self._slots = DeferredSemaphore(MAX_CONCURRENT)
        self._checking = LoopingCall(self._write_due)
        self._checking.clock = reactor

    def startService(self) -> None:
        """Start writing snapshots."""
        Service.startService(self)
        self._checking.start(self._debounce / CHECKS_PER_DEBOUNCE, now=False)

    def stopService(self) -> None:
        """Stop writing snapshots by itself; :meth:`write_all` still works."""
        Service.stopService(self)
        self._checking.stop()

    def loaded(self, document_id: str, snapshot_size: int, unmerged_size: int) -> None:
        """A document was loaded, with a snapshot and log entries of so many bytes."""
        self._sizes[document_id] = snapshot_size
        if unmerged_size:
            # Not added to the size of a known change: the log entries may be the same.
            now = self._reactor.seconds()
            change = self._changes.setdefault(document_id, _Change(now, now, 0))
            change.size = max(change.size, unmerged_size)

    def changed(self, sizes: Mapping[str, int]) -> None:
        """So many bytes were added to the logs of these documents."""
        now = self._reactor.seconds()
        for document_id, size in sizes.items():
            change = self._changes.setdefault(document_id, _Change(now, now, 0))
            change.last = now
            change.size += size

    async def unloaded(self, document_id: str) -> None:
        """The last client has closed a document: write its snapshot if its log is large enough, and forget it.

        :raises Exception: what folding has raised; the document remains changed.
        """
        if document_id in self._changes and not self._has_grown(document_id, CLOSED_FRACTION):
            del self._changes[document_id]
        await self.write(document_id)
        if document_id not in self._changes:
            self._sizes.pop(document_id, None)

    async def write(self, document_id: str, compact: bool = True) -> None:
        """Write a document's snapshot now if it has changed since the last one.

        :raises Exception: what folding has raised; the document remains changed.
        """
        # Not a DeferredLock, which resumes each that waits within the one before: if hundreds wait for a
        # compaction, the stack overflows and the lock stays locked.
        while document_id in self._writing:
            written: Deferred[None] = Deferred()
            self._writing[document_id].append(written)
            await written
        if document_id not in self._changes:
            return
        self._writing[document_id] = []
        try:
            await self._slots.run(lambda: Deferred.fromCoroutine(self._write_changed(document_id, compact)))
        finally:
            for written in self._writing.pop(document_id):
                written.callback(None)

    async def write_all(self) -> None:
        """Write the snapshots of all documents whose logs are large enough, and wait for those that are being written.

        Failures are logged.
        """
        for document_id in [*self._changes, *self._writing]:
            # While this waits for one snapshot, others may be written and removed from both.
            has_changed = document_id in self._changes and self._has_grown(document_id, CLOSED_FRACTION)
            if has_changed or document_id in self._writing:
                await self._write_and_log(document_id, compact=False)

    def _has_grown(self, document_id: str, fraction: float) -> bool:
        size = self._sizes.get(document_id, 0)
        return size <= SMALL_SNAPSHOT or self._changes[document_id].size >= size * fraction

    async def _write_changed(self, document_id: str, compact: bool) -> None:
        change = self._changes.pop(document_id)
        started = self._reactor.seconds()
        try:
            folded = await self._fold(document_id, compact)
        except BaseException:
            newer = self._changes.get(document_id)
            # The maximum wait begins anew, so that a snapshot that always fails is not retried all the time.
            now = self._reactor.seconds()
            self._changes[document_id] = _Change(now, change.last, change.size + (newer.size if newer else 0))
            raise
        if folded.entries or folded.compacted:
            self._sizes[document_id] = folded.size
        self._counters.snapshots += 1
        self._counters.compactions += folded.compacted
        self.log.debug(
            "snapshot written",
            room=document_id,
            entries=folded.entries,
            size=folded.size,
            compacted=folded.compacted,
            seconds=self._reactor.seconds() - started,
        )

    def _write_due(self) -> None:
        now = self._reactor.seconds()
        for document_id, change in list(self._changes.items()):
            is_quiet = now - max(change.last, change.first) >= self._debounce
            is_due = is_quiet or now - change.first >= self._max_wait
            if is_due and document_id not in self._writing and self._has_grown(document_id, OPEN_FRACTION):
                Deferred.fromCoroutine(self._write_and_log(document_id, compact=True))

    async def _write_and_log(self, document_id: str, compact: bool) -> None:
        try:
            await self.write(document_id, compact)
        except Exception as error:
            self.log.error("snapshot failed", room=document_id, reason=str(error))
