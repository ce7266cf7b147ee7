"""The journal: the queue of updates on their way to the log, with group commit.

Updates wait a few milliseconds, so that one statement and one commit take those of many clients; batches are committed
one after the other, in order.  A commit that fails is retried, with growing delays, until it succeeds: no update is
dropped.  An update that a constraint or a trigger refuses is postponed, and so are the updates of a document of which
another transaction has locked a row: no other document's updates wait for them.  An error that may concern every
update, missing privileges for example, is no refusal, even if a trigger or a row-level security policy raises it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from canvas_collab.backoff import Backoff
from canvas_collab.counters import Counters
from canvas_collab.database.errors import ValuesRefused
from canvas_collab.persistence.batches import (
    BATCH_ENTRIES,
    ENTRY_OVERHEAD,
    QueuedEntry,
    bytes_by_document,
    next_batch,
)
from canvas_collab.persistence.commit_callbacks import CommitCallbacks
from canvas_collab.persistence.postponed import PostponedEntries, PostponedQueue
from canvas_collab.persistence.store import DocumentsLocked, LogEntry

#: The bounds of the delays after which a failed commit is retried, in seconds.
FIRST_RETRY_DELAY = 0.1
LONGEST_RETRY_DELAY = 2.0

#: A commit that takes more seconds than this is reported as a problem, though it has not failed.
SLOW_COMMIT = 5.0


class Log(Protocol):
    """What the journal writes to."""

    def append(self, entries: Sequence[LogEntry]) -> Awaitable[None]:
        """Commit all entries, or raise and commit none.

        :raises ValuesRefused: if one of them is refused, and will be again.
        :raises DocumentsLocked: if some have to wait for another transaction.
        """


class Journal(Service):
    """The queue of updates that are not committed yet."""

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        store: Log,
        interval: float,
        queue_max: int,
        on_commit: Callable[[Mapping[str, int]], None],
        counters: Counters,
    ) -> None:
        """:param interval: for how many seconds updates are collected for one commit.
        :param queue_max: how many bytes may be queued before :attr:`full` is true.
        :param on_commit: called after every commit with the number of bytes that it has added to each document's log.
        """
        self._reactor = reactor
        self._store = store
        self._interval = interval
        self._queue_max = queue_max
        self._on_commit = on_commit
        self._counters = counters
        self._queue: list[QueuedEntry] = []
        self._queued_bytes = 0
        self._committing = False
        # Why the last commit failed, if it did; and since when one is running, if one is.
        self._failure: str | None = None
        self._commit_began: float | None = None
        self._call: IDelayedCall | None = None
        # When the next commit of the queue is due; None if the queue has nothing but what is being committed.
        self._due: float | None = None
        # When the oldest update of the queue was queued; of those that came in during a commit, when that began; None
        # if the queue is empty.
        self._oldest: float | None = None
        self._backoff = Backoff(FIRST_RETRY_DELAY, LONGEST_RETRY_DELAY)
        self._batch_entries = BATCH_ENTRIES
        self._appended = 0
        self._committed = 0
        self._callbacks = CommitCallbacks()
        self._postponed = PostponedQueue(reactor, self._callbacks, self._start_soon)
        # The same dict under a name of its own, since every update is looked up in it.
        self._locked = self._postponed.locked

    @property
    def position(self) -> int:
        """How many updates were queued so far."""
        return self._appended

    @property
    def unsaved(self) -> int:
        """How many updates are not committed yet."""
        return self._appended - self._committed

    @property
    def unsaved_bytes(self) -> int:
        """The memory that these take, in bytes."""
        return self._queued_bytes

    @property
    def full(self) -> bool:
        """Whether the queue has reached its limit, and no more updates should be accepted."""
        return self._queued_bytes >= self._queue_max

    @property
    def problem(self) -> str | None:
        """Why updates are not committed as they should be; None if they are."""
        if self._failure is not None:
            return f"updates cannot be committed: {self._failure}"
        if self._commit_began is not None:
            duration = self._reactor.seconds() - self._commit_began
            if duration > SLOW_COMMIT:
                return f"a commit has not ended after {duration:.0f} s"
        if self.full:
            return "the queue of updates for the database is full"
        return None

    def append(self, entry: LogEntry) -> None:
        """Queue an update."""
        queued = QueuedEntry(self._appended, entry)
        self._appended += 1
        self._queued_bytes += len(entry.update) + ENTRY_OVERHEAD
        if entry.document_id in self._locked:
            self._postponed.append(queued)
            self._advance()
            return
        self._queue.append(queued)
        if self._due is None:
            now = self._reactor.seconds()
            self._due = now + self._interval
            if self._oldest is None:
                self._oldest = now
        if self._call is None and not self._committing:
            self._call = self._reactor.callLater(self._interval, self._start)

    def when_committed(self, document_id: str | None = None) -> Deferred[None]:
        """Return a Deferred that fires when every update queued until now is committed.

        :param document_id: the document whose updates count; None if those of all documents do.
        """
        committed: Deferred[None] = Deferred()
        self.after_commit(document_id, lambda: committed.callback(None))
        return committed

    def after_commit(self, document_id: str | None, act: Callable[[], None]) -> None:
        """Call `act`, which must not raise, when every update queued until now is committed.

        Callbacks for the same document are called in the order in which they were added.

        :param document_id: the document whose updates count; None if those of all documents do.
        """
        self._callbacks.add(self._appended, document_id, act)

    def flush_soon(self) -> None:
        """Commit at the next turn of the reactor, without waiting for the interval or the delay of a retry."""
        self._due = self._reactor.seconds()
        self._postponed.retry_now()
        if self._call is not None:
            self._call.reset(0)

    def _start_soon(self) -> None:
        """Called when postponed entries have become due."""
        if not self._committing and self._failure is None:
            if self._call is None:
                self._call = self._reactor.callLater(0, self._start)
            else:
                self._call.reset(0)

    def _start(self) -> None:
        self._call = None
        self._committing = True
        committing = Deferred.fromCoroutine(self._commit())
        committing.addErrback(self._stopped)

    def _stopped(self, failure: Failure) -> None:
        self._failure = "the journal stopped"
        self.log.failure("the journal stopped", failure)

    async def _commit(self) -> None:
        """Commit batch after batch until none is due or a commit fails."""
        while self._postponed.due or self._queue:
            postponed = self._postponed.due.popleft() if self._postponed.due else None
            batch = next_batch(self._queue if postponed is None else postponed.entries, self._batch_entries)
            self._commit_began = self._reactor.seconds()
            if postponed is None:
                self._due = self._commit_began if len(batch) < len(self._queue) else None
            try:
                await self._store.append([queued.entry for queued in batch])
            except ValuesRefused as error:
                self._failure = None
                self._handle_refusal(batch, postponed, str(error))
            except DocumentsLocked as error:
                self._failure = None
                self._handle_lock(batch, postponed, error.documents)
            except Exception as error:
                if postponed is not None:
                    self._postponed.due.appendleft(postponed)
                self._failure = " ".join(str(error).split()) or type(error).__name__
                delay = self._backoff.next_delay()
                self._committing = False
                self._call = self._reactor.callLater(delay, self._start)
                self._counters.commit_failures += 1
                self.log.error("commit failed", reason=self._failure, unsaved=self.unsaved, retry_in=delay)
                return
            else:
                self._failure = None
                self._handle_commit(batch, postponed)
            finally:
                self._commit_began = None
            if not self._queue or self._postponed.due or self._due is None:
                continue
            if (wait := self._due - self._reactor.seconds()) > 0:
                # Updates that came in during the commit are collected for the interval, too: a commit of one costs the
                # database as much as a commit of many.
                self._call = self._reactor.callLater(wait, self._start)
                break
        self._committing = False

    def _handle_commit(self, batch: list[QueuedEntry], postponed: PostponedEntries | None) -> None:
        self._committed += len(batch)
        self._counters.commits += 1
        self._counters.committed_updates += len(batch)
        sizes = bytes_by_document(batch)
        self._queued_bytes -= sum(sizes.values()) + len(batch) * ENTRY_OVERHEAD
        self._backoff.reset()
        self._batch_entries = min(self._batch_entries * 2, BATCH_ENTRIES)
        self._on_commit(sizes)
        if postponed is None:
            if self._oldest is not None:
                self._counters.commit.observe(self._reactor.seconds() - self._oldest)
            self._oldest = self._commit_began
            del self._queue[: len(batch)]
            self._advance()
        else:
            self._postponed.commit(postponed, batch)

    def _handle_refusal(self, batch: list[QueuedEntry], postponed: PostponedEntries | None, reason: str) -> None:
        """Try a smaller batch until the refused entry is alone, then postpone that."""
        if len(batch) > 1:
            self._batch_entries = len(batch) // 2
            if postponed is not None:
                self._postponed.due.appendleft(postponed)
            return
        [queued] = batch
        entry = queued.entry
        self.log.error("update refused", room=entry.document_id, user=entry.user_id, reason=" ".join(reason.split()))
        self._postponed.refuse(queued)
        if postponed is None:
            del self._queue[0]
            self._advance()
        else:
            self._postponed.remove(postponed, 1)

    def _handle_lock(
        self, batch: list[QueuedEntry], postponed: PostponedEntries | None, documents: Collection[str]
    ) -> None:
        """Postpone the entries of the locked documents; if it is unknown which these are, those of the batch."""
        if postponed is not None:
            self._postponed.retry_locked(postponed)
            return
        candidates = {queued.entry.document_id for queued in batch}
        locked = candidates.intersection(documents) or (candidates if len(candidates) == 1 else set())
        for document_id in locked or candidates:
            self._postponed.lock(document_id, is_certain=bool(locked))
        queue, self._queue = self._queue, []
        for queued in queue:
            if queued.entry.document_id in self._locked:
                self._postponed.append(queued)
            else:
                self._queue.append(queued)
        self._advance()

    def _advance(self) -> None:
        if not self._queue:
            self._oldest = None
        self._callbacks.advance(self._queue[0].position if self._queue else self._appended)
