"""The journal: every update of every room, on its way to the log, many to a commit.

Updates wait a few milliseconds for company, then go to the database in one statement, one commit at a time and in
order.  A commit that fails is tried again, with growing pauses, until it succeeds: nothing is dropped.  An update that
the database refuses, whatever the reason, is put aside and tried again from time to time, so that it holds up nobody
else's.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from attrs import define, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from canvas_collab.database.pool import Refused
from canvas_collab.persistence.store import LogEntry

#: One commit takes at most so many entries, and so many bytes unless a single entry is larger.
BATCH_ENTRIES = 2000
BATCH_BYTES = 4 * 2**20

#: After a commit has failed, the next try follows after about the first of these, doubled each time up to the second.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0

#: A commit that takes more seconds than this is trouble, though it has not failed.
SLOW_COMMIT = 5.0

#: An update that the database refuses is tried again after so many seconds, and the others go on meanwhile.
REFUSED_PAUSE = 30.0


class Log(Protocol):
    """Where the journal writes to."""

    def append(self, entries: Sequence[LogEntry]) -> Awaitable[None]:
        """Keep all entries, or raise and keep none.

        :raises Refused: if one of them cannot be kept, and never will be as things are.
        """


@define(eq=False)
class _Queued:
    """An entry, where it stands among all that were ever queued, and whether it was refused."""

    position: int
    entry: LogEntry
    was_refused: bool = False


@frozen
class _Waiting:
    """Somebody who waits until everything before a position is committed: of one document, or of all."""

    position: int
    document_id: str | None
    act: Callable[[], None]


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
        self._queue: list[_Queued] = []
        self._queued_bytes = 0
        self._committing = False
        # Why the last commit failed, if it did; and since when one is under way, if one is.
        self._failure: str | None = None
        self._commit_began: float | None = None
        self._call: IDelayedCall | None = None
        # When the next commit is due, if there is anything to commit that is not being committed.
        self._due: float | None = None
        self._pause = FIRST_PAUSE
        self._batch_entries = BATCH_ENTRIES
        self._appended = 0
        self._committed = 0
        # Everything before this position is committed, or was refused.
        self._reached = 0
        # The positions that were refused and are not committed yet, by document.
        self._refused: dict[str, set[int]] = {}
        self._waiting: deque[_Waiting] = deque()

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

    @property
    def trouble(self) -> str | None:
        """Why updates do not get to the database as they should, or None if they do."""
        if self._failure is not None:
            return f"updates cannot be committed: {self._failure}"
        if self._commit_began is not None:
            lasting = self._reactor.seconds() - self._commit_began
            if lasting > SLOW_COMMIT:
                return f"a commit has not ended after {lasting:.0f} s"
        if self.full:
            return "as many updates wait for the database as may"
        return None

    def append(self, entry: LogEntry) -> None:
        """Queue an update."""
        self._queue.append(_Queued(self._appended, entry))
        self._queued_bytes += len(entry.update)
        self._appended += 1
        if self._due is None:
            self._due = self._reactor.seconds() + self._interval
        if self._call is None and not self._committing:
            self._call = self._reactor.callLater(self._interval, self._start)

    def when_committed(self, document_id: str | None = None) -> Deferred[None]:
        """Fires when everything of a document, or of all, that is queued now is in the database."""
        committed: Deferred[None] = Deferred()
        self.after_commit(document_id, lambda: committed.callback(None))
        return committed

    def after_commit(self, document_id: str | None, act: Callable[[], None]) -> None:
        """Call `act`, which must not raise, when everything of a document that is queued now is in the database.

        What is asked for one document is called in the order of asking.
        """
        waiting = _Waiting(self._appended, document_id, act)
        if self.unsaved:
            self._waiting.append(waiting)
        else:
            act()

    def hasten(self) -> None:
        """Do not wait for company, nor after a failure: commit now."""
        self._due = self._reactor.seconds()
        if self._call is not None:
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
        """Commit batch after batch until nothing is due, or the database is not there."""
        while self._queue:
            batch = self._next_batch()
            self._commit_began = self._reactor.seconds()
            self._due = self._commit_began if len(batch) < len(self._queue) else None
            try:
                await self._store.append([queued.entry for queued in batch])
            except Refused as error:
                self._failure = None
                self._refuse(batch, str(error))
            except Exception as error:
                self._failure = " ".join(str(error).split()) or type(error).__name__
                delay = self._pause * random.uniform(0.5, 1.0)
                self._pause = min(self._pause * 2, LONGEST_PAUSE)
                self._committing = False
                self._call = self._reactor.callLater(delay, self._start)
                self.log.error("commit failed", reason=self._failure, unsaved=self.unsaved, retry_in=delay)
                return
            else:
                self._failure = None
                self._done(batch)
            finally:
                self._commit_began = None
            if self._queue and self._due is not None and (wait := self._due - self._reactor.seconds()) > 0:
                # What came in during the commit waits for company as well: a commit costs the same for one as for many.
                self._call = self._reactor.callLater(wait, self._start)
                break
        self._committing = False

    def _next_batch(self) -> list[_Queued]:
        size = len(self._queue[0].entry.update)
        count = 1
        for queued in self._queue[1 : min(self._batch_entries, BATCH_ENTRIES)]:
            if size + len(queued.entry.update) > BATCH_BYTES:
                break
            size += len(queued.entry.update)
            count += 1
        return self._queue[:count]

    def _done(self, batch: list[_Queued]) -> None:
        """A batch is in the database."""
        self._take(batch)
        self._committed += len(batch)
        self._pause = FIRST_PAUSE
        self._batch_entries = min(self._batch_entries * 2, BATCH_ENTRIES)
        for queued in batch:
            if queued.was_refused:
                positions = self._refused[queued.entry.document_id]
                positions.discard(queued.position)
                if not positions:
                    del self._refused[queued.entry.document_id]
        self._on_commit(_sizes(batch))
        self._release()

    def _refuse(self, batch: list[_Queued], reason: str) -> None:
        """The database does not take a batch: find out which entry it is, and let the others pass."""
        if len(batch) > 1:
            self._batch_entries = len(batch) // 2
            return
        self._take(batch)
        [queued] = batch
        entry = queued.entry
        self.log.error("update refused", room=entry.document_id, user=entry.user_id, reason=" ".join(reason.split()))
        queued.was_refused = True
        self._refused.setdefault(entry.document_id, set()).add(queued.position)
        # It still counts as unsaved, and its room as much as before for what may wait.
        self._queued_bytes += len(entry.update)
        self._reactor.callLater(REFUSED_PAUSE, self._try_again, queued)
        self._release()

    def _try_again(self, queued: _Queued) -> None:
        self._queue.append(queued)
        if self._call is None and not self._committing:
            self._call = self._reactor.callLater(0, self._start)

    def _take(self, batch: list[_Queued]) -> None:
        del self._queue[: len(batch)]
        self._queued_bytes -= sum(len(queued.entry.update) for queued in batch)
        self._reached = max(self._reached, *(queued.position + 1 for queued in batch))

    def _release(self) -> None:
        """Call those whose wait is over."""
        while self._waiting and self._waiting[0].position <= self._reached:
            if self._refused:
                self._release_all_but_refused()
                return
            self._waiting.popleft().act()

    def _release_all_but_refused(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        held: list[_Waiting] = []
        for one in waiting:
            if one.position > self._reached or self._is_held(one):
                held.append(one)
            else:
                one.act()
        # In front of what was asked for in the meantime.
        self._waiting.extendleft(reversed(held))

    def _is_held(self, waiting: _Waiting) -> bool:
        if waiting.document_id is None:
            return any(min(positions) < waiting.position for positions in self._refused.values())
        return any(position < waiting.position for position in self._refused.get(waiting.document_id, ()))


def _sizes(batch: Sequence[_Queued]) -> dict[str, int]:
    """How many bytes of updates there are of each document."""
    sizes: dict[str, int] = {}
    for queued in batch:
        entry = queued.entry
        sizes[entry.document_id] = sizes.get(entry.document_id, 0) + len(entry.update)
    return sizes
