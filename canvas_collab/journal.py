"""The journal: every update of every room, on its way to the log, many to a commit.

Updates wait a few milliseconds for company, then go to the database in one statement, one commit at a time and in
order.  A commit that fails is tried again, with growing pauses, until it succeeds: nothing is dropped.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from canvas_collab.database.documents import LogEntry

#: One commit takes at most so many entries, and so many bytes unless a single entry is larger.
BATCH_ENTRIES = 2000
BATCH_BYTES = 4 * 2**20

#: After a commit has failed, the next try follows after about the first of these, doubled each time up to the second.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0


class Log(Protocol):
    """Where the journal writes to."""

    def append(self, entries: Sequence[LogEntry]) -> Awaitable[None]:
        """Keep all entries, or raise and keep none."""


class Journal(Service):
    """The queue of updates that are not in the database yet."""

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        store: Log,
        interval: float,
        queue_max: int,
        on_commit: Callable[[Mapping[str, int]], None],
    ) -> None:
        """:param interval: how long an update waits for company, in seconds.
        :param queue_max: how many bytes may wait before :attr:`full` says that there are too many.
        :param on_commit: is told after every commit how many bytes it brought to which documents.
        """
        self._reactor = reactor
        self._store = store
        self._interval = interval
        self._queue_max = queue_max
        self._on_commit = on_commit
        self._queue: list[LogEntry] = []
        self._queued_bytes = 0
        self._committing = False
        self._call: IDelayedCall | None = None
        self._pause = FIRST_PAUSE
        self._appended = 0
        self._committed = 0
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()

    @property
    def position(self) -> int:
        """How many updates have been queued so far."""
        return self._appended

    @property
    def unsaved(self) -> int:
        """How many updates are not in the database yet."""
        return self._appended - self._committed

    @property
    def full(self) -> bool:
        """Whether so much waits for the database that no more should be taken."""
        return self._queued_bytes >= self._queue_max

    def append(self, entry: LogEntry) -> None:
        """Queue an update."""
        self._queue.append(entry)
        self._queued_bytes += len(entry.update)
        self._appended += 1
        if self._call is None and not self._committing:
            self._call = self._reactor.callLater(self._interval, self._start)

    def when_committed(self) -> Deferred[None]:
        """Fires when everything that is queued now is in the database."""
        committed: Deferred[None] = Deferred()
        self.after_commit(lambda: committed.callback(None))
        return committed

    def after_commit(self, act: Callable[[], None]) -> None:
        """Call `act`, which must not raise, when everything that is queued now is in the database."""
        if self.unsaved:
            self._waiting.append((self._appended, act))
        else:
            act()

    def hasten(self) -> None:
        """Do not wait for company, nor after a failure: commit now."""
        if self._call is not None:
            self._call.reset(0)

    def _start(self) -> None:
        self._call = None
        self._committing = True
        committing = Deferred.fromCoroutine(self._commit())
        committing.addErrback(lambda failure: self.log.failure("the journal stopped", failure))

    async def _commit(self) -> None:
        """Commit batch after batch until the queue is empty, or one fails."""
        while self._queue:
            batch, size = self._next_batch()
            try:
                await self._store.append(batch)
            except Exception as error:
                delay = self._pause * random.uniform(0.5, 1.0)
                self._pause = min(self._pause * 2, LONGEST_PAUSE)
                self._committing = False
                self._call = self._reactor.callLater(delay, self._start)
                self.log.error("commit failed", reason=str(error), unsaved=self.unsaved, retry_in=delay)
                return
            del self._queue[: len(batch)]
            self._queued_bytes -= size
            self._committed += len(batch)
            self._pause = FIRST_PAUSE
            self._on_commit(_sizes(batch))
            self._release()
        self._committing = False

    def _next_batch(self) -> tuple[list[LogEntry], int]:
        size = len(self._queue[0].update)
        count = 1
        for entry in self._queue[1:BATCH_ENTRIES]:
            if size + len(entry.update) > BATCH_BYTES:
                break
            size += len(entry.update)
            count += 1
        return self._queue[:count], size

    def _release(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._committed:
            self._waiting.popleft()[1]()


def _sizes(batch: Sequence[LogEntry]) -> dict[str, int]:
    """How many bytes of updates there are of each document."""
    sizes: dict[str, int] = {}
    for entry in batch:
        sizes[entry.document_id] = sizes.get(entry.document_id, 0) + len(entry.update)
    return sizes
