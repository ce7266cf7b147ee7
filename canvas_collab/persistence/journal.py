"""The journal: every update of every room, on its way to the log, many to a commit.

Updates wait a few milliseconds for company, then go to the database in one statement, one commit at a time and in
order.  A commit that fails is tried again, with growing pauses, until it succeeds: nothing is dropped.  An update that
the database refuses, by a constraint, or a trigger whatever that raises, is put aside and tried again from time to
time, and so is a document whose row somebody has locked, in its order: they hold up nobody else's.  What may be about
everybody's updates, missing rights for one, is no refusal, even where a trigger or a policy for rows says so.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Protocol

from attrs import define
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from canvas_collab.database.errors import ValuesRefused
from canvas_collab.persistence.batches import BATCH_ENTRIES, Queued, next_batch, sizes_of
from canvas_collab.persistence.commit_callbacks import CommitCallbacks
from canvas_collab.persistence.store import DocumentsLocked, LogEntry

#: After a commit has failed, the next try follows after about the first of these, doubled each time up to the second.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0

#: A commit that takes more seconds than this is trouble, though it has not failed.
SLOW_COMMIT = 5.0

#: An update that the database refuses is tried again after so many seconds, and the others go on meanwhile.
REFUSED_PAUSE = 30.0

#: A document that somebody has locked is tried again after so many seconds, doubled each time up to LONGEST_PAUSE.
LOCKED_PAUSE = 0.5


class Log(Protocol):
    """Where the journal writes to."""

    def append(self, entries: Sequence[LogEntry]) -> Awaitable[None]:
        """Keep all entries, or raise and keep none.

        :raises ValuesRefused: if one of them cannot be kept, and never will be as things are.
        :raises DocumentsLocked: if some cannot be kept until somebody else has finished.
        """


@define(eq=False)
class _Aside:
    """Entries of one document that were put aside, in order; the next try follows after `pause` seconds.

    What comes of a document that is locked is put behind them; one that was refused is alone.
    """

    entries: list[Queued]
    is_locked: bool
    pause: float


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
        self._queue: list[Queued] = []
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
        self._commit_callbacks = CommitCallbacks()
        # By document, those that somebody has locked; what was put aside and waits; and what is to be tried again now.
        self._locked: dict[str, _Aside] = {}
        self._aside: dict[_Aside, IDelayedCall] = {}
        self._again: deque[_Aside] = deque()

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
        queued = Queued(self._appended, entry)
        self._appended += 1
        self._queued_bytes += queued.size
        locked = self._locked.get(entry.document_id)
        if locked is not None:
            locked.entries.append(queued)
            self._commit_callbacks.hold(entry.document_id, queued.position)
            self._reach()
            return
        self._queue.append(queued)
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
        self._commit_callbacks.ask(self._appended, document_id, act)

    def flush_soon(self) -> None:
        """Do not wait for company, nor after a failure: commit now."""
        self._due = self._reactor.seconds()
        for call in self._aside.values():
            call.reset(0)
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
        while self._again or self._queue:
            aside = self._again.popleft() if self._again else None
            batch = next_batch(self._queue if aside is None else aside.entries, self._batch_entries)
            self._commit_began = self._reactor.seconds()
            if aside is None:
                self._due = self._commit_began if len(batch) < len(self._queue) else None
            try:
                await self._store.append([queued.entry for queued in batch])
            except ValuesRefused as error:
                self._failure = None
                self._refuse(batch, aside, str(error))
            except DocumentsLocked as error:
                self._failure = None
                self._put_aside(batch, aside, error.documents)
            except Exception as error:
                if aside is not None:
                    self._again.appendleft(aside)
                self._failure = " ".join(str(error).split()) or type(error).__name__
                delay = self._pause * random.uniform(0.5, 1.0)
                self._pause = min(self._pause * 2, LONGEST_PAUSE)
                self._committing = False
                self._call = self._reactor.callLater(delay, self._start)
                self.log.error("commit failed", reason=self._failure, unsaved=self.unsaved, retry_in=delay)
                return
            else:
                self._failure = None
                self._done(batch, aside)
            finally:
                self._commit_began = None
            if not self._queue or self._again or self._due is None:
                continue
            if (wait := self._due - self._reactor.seconds()) > 0:
                # What came in during the commit waits for company as well: a commit costs the same for one as for many.
                self._call = self._reactor.callLater(wait, self._start)
                break
        self._committing = False

    def _done(self, batch: list[Queued], aside: _Aside | None) -> None:
        """A batch is in the database."""
        self._committed += len(batch)
        self._queued_bytes -= sum(queued.size for queued in batch)
        self._pause = FIRST_PAUSE
        self._batch_entries = min(self._batch_entries * 2, BATCH_ENTRIES)
        self._on_commit(sizes_of(batch))
        if aside is None:
            del self._queue[: len(batch)]
            self._reach()
            return
        del aside.entries[: len(batch)]
        self._go_on_with(aside, batch[0].entry.document_id)
        for queued in batch:
            self._commit_callbacks.let_go(queued.entry.document_id, queued.position)

    def _refuse(self, batch: list[Queued], aside: _Aside | None, reason: str) -> None:
        """The database does not take a batch: find out which entry it is, and let the others pass."""
        if len(batch) > 1:
            self._batch_entries = len(batch) // 2
            if aside is not None:
                self._again.appendleft(aside)
            return
        [queued] = batch
        entry = queued.entry
        self.log.error("update refused", room=entry.document_id, user=entry.user_id, reason=" ".join(reason.split()))
        self._commit_callbacks.hold(entry.document_id, queued.position)
        self._try_later(_Aside([queued], is_locked=False, pause=REFUSED_PAUSE))
        if aside is None:
            del self._queue[0]
            self._reach()
        else:
            del aside.entries[0]
            self._go_on_with(aside, entry.document_id)

    def _put_aside(self, batch: list[Queued], aside: _Aside | None, documents: Collection[str]) -> None:
        """Somebody has locked `documents`, or it is not known which: let the others pass."""
        if aside is not None:
            self._leave_locked(aside, batch[0].entry.document_id)
            return
        suspects = {queued.entry.document_id for queued in batch}
        known = suspects.intersection(documents) or (suspects if len(suspects) == 1 else set())
        for document_id in known or suspects:
            locked = self._locked[document_id] = _Aside([], is_locked=True, pause=0)
            if known:
                self._leave_locked(locked, document_id)
            else:
                # It is suspected for no more than being there, so it is tried at once, by itself.
                self._again.append(locked)
        queue, self._queue = self._queue, []
        for queued in queue:
            document_id = queued.entry.document_id
            if document_id in self._locked:
                self._locked[document_id].entries.append(queued)
                self._commit_callbacks.hold(document_id, queued.position)
            else:
                self._queue.append(queued)
        self._reach()

    def _leave_locked(self, aside: _Aside, document_id: str) -> None:
        if not aside.pause:
            self.log.warn("document locked", room=document_id)
        aside.pause = min(aside.pause * 2, LONGEST_PAUSE) or LOCKED_PAUSE
        self._try_later(aside)

    def _try_later(self, aside: _Aside) -> None:
        self._aside[aside] = self._reactor.callLater(aside.pause, self._try_again, aside)

    def _try_again(self, aside: _Aside) -> None:
        del self._aside[aside]
        self._again.append(aside)
        if not self._committing and self._failure is None:
            if self._call is None:
                self._call = self._reactor.callLater(0, self._start)
            else:
                self._call.reset(0)

    def _go_on_with(self, aside: _Aside, document_id: str) -> None:
        """Some of what was put aside is dealt with."""
        if aside.entries:
            self._again.appendleft(aside)
        elif aside.is_locked:
            del self._locked[document_id]

    def _reach(self) -> None:
        self._commit_callbacks.reach(self._queue[0].position if self._queue else self._appended)
