"""The flusher: writes a snapshot of each document that has changed, once it rests, or has not rested for too long."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import define
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

#: How often the flusher looks, in parts of the debounce time.
LOOKS_PER_DEBOUNCE = 4

#: How many snapshots are written at once; the pool's other connections stay free for sessions and the journal.
AT_ONCE = 1


@define
class _Change:
    """When a document changed: for the first time since its last snapshot, and for the last."""

    first: float
    last: float


class Snapshots(Service):
    """Knows which documents have log entries that are not in their snapshot, and takes care of them."""

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        write: Callable[[str], Awaitable[int]],
        debounce: float,
        max_wait: float,
    ) -> None:
        """:param write: writes one document's snapshot and answers how many entries went into it.
        :param debounce: a document that has not changed for so many seconds is written.
        :param max_wait: one that goes on changing is written after so many.
        """
        self._reactor = reactor
        self._write = write
        self._debounce = debounce
        self._max_wait = max_wait
        self._changes: dict[str, _Change] = {}
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

    def changed(self, document_ids: set[str]) -> None:
        """These documents have new entries in their log."""
        now = self._reactor.seconds()
        for document_id in document_ids:
            change = self._changes.setdefault(document_id, _Change(now, now))
            change.last = now

    async def write(self, document_id: str) -> None:
        """Write a document's snapshot now, if it has changed since the last one.

        :raises Exception: whatever writing raised; the document then still counts as changed.
        """
        lock = self._locks.setdefault(document_id, DeferredLock())
        await lock.acquire()
        try:
            if document_id in self._changes:
                await self._slots.run(lambda: Deferred.fromCoroutine(self._write_changed(document_id)))
        finally:
            lock.release()
            if not lock.locked and not lock.waiting:
                self._locks.pop(document_id, None)

    async def write_all(self) -> None:
        """Write every document that has changed; failures are logged."""
        for document_id in list(self._changes):
            await self._attempt(document_id)

    async def _write_changed(self, document_id: str) -> None:
        change = self._changes.pop(document_id)
        started = self._reactor.seconds()
        try:
            entries = await self._write(document_id)
        except BaseException:
            newer = self._changes.get(document_id)
            # The wait begins again, so that a document that cannot be written does not take all the time there is.
            self._changes[document_id] = newer or _Change(self._reactor.seconds(), change.last)
            raise
        seconds = self._reactor.seconds() - started
        self.log.debug("snapshot written", room=document_id, entries=entries, seconds=seconds)

    def _look(self) -> None:
        now = self._reactor.seconds()
        for document_id, change in list(self._changes.items()):
            rested = now - max(change.last, change.first) >= self._debounce
            if (rested or now - change.first >= self._max_wait) and document_id not in self._locks:
                Deferred.fromCoroutine(self._attempt(document_id))

    async def _attempt(self, document_id: str) -> None:
        try:
            await self.write(document_id)
        except Exception as error:
            self.log.error("snapshot failed", room=document_id, reason=str(error))
