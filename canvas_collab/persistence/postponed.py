"""Log entries that are committed later than their neighbours in the journal, so that they do not delay them.

There are two reasons: the database refuses an update, or another transaction has locked a row that the entries of a
document refer to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from attrs import define
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from canvas_collab.persistence.batches import QueuedEntry
from canvas_collab.persistence.commit_callbacks import CommitCallbacks

#: A refused update is retried after so many seconds.
REFUSED_RETRY_DELAY = 30.0

#: A locked document is retried after the first of these, doubled each time up to the second, in seconds.
FIRST_LOCKED_RETRY_DELAY = 0.5
LONGEST_LOCKED_RETRY_DELAY = 2.0


@define(eq=False)
class PostponedEntries:
    """Entries of one document, in order, that are retried together `delay` seconds after an attempt has failed.

    New entries of a locked document are added to its postponed entries.  A refused entry is alone.
    """

    document_id: str
    entries: list[QueuedEntry]
    is_locked: bool
    delay: float


class PostponedQueue:
    """All postponed entries: those that wait for their next attempt, and those whose attempt is due."""

    log = Logger()

    def __init__(self, reactor: IReactorTime, callbacks: CommitCallbacks, on_due: Callable[[], None]) -> None:
        """:param on_due: called when entries have become due after their delay."""
        self._reactor = reactor
        self._callbacks = callbacks
        self._on_due = on_due
        #: The postponed entries of locked documents, by document.
        self.locked: dict[str, PostponedEntries] = {}
        #: The postponed entries that are to be tried now, in order.
        self.due: deque[PostponedEntries] = deque()
        self._timers: dict[PostponedEntries, IDelayedCall] = {}

    def refuse(self, queued: QueuedEntry) -> None:
        """The database refuses an entry: retry it later."""
        document_id = queued.entry.document_id
        self._callbacks.postpone(document_id, queued.position)
        self._retry_later(PostponedEntries(document_id, [queued], is_locked=False, delay=REFUSED_RETRY_DELAY))

    def lock(self, document_id: str, is_certain: bool) -> None:
        """A document is locked: postpone the entries that :meth:`append` adds.

        :param is_certain: whether this document is locked for certain, not merely one of several; otherwise its entries
            are tried at once, without those of other documents.
        """
        postponed = self.locked[document_id] = PostponedEntries(document_id, [], is_locked=True, delay=0)
        if is_certain:
            self.retry_locked(postponed)
        else:
            self.due.append(postponed)

    def append(self, queued: QueuedEntry) -> None:
        """Add an entry to those of its locked document."""
        document_id = queued.entry.document_id
        self.locked[document_id].entries.append(queued)
        self._callbacks.postpone(document_id, queued.position)

    def retry_locked(self, postponed: PostponedEntries) -> None:
        """A document is still locked: retry its entries later."""
        if not postponed.delay:
            self.log.warn("document locked", room=postponed.document_id)
        postponed.delay = min(postponed.delay * 2, LONGEST_LOCKED_RETRY_DELAY) or FIRST_LOCKED_RETRY_DELAY
        self._retry_later(postponed)

    def remove(self, postponed: PostponedEntries, count: int) -> None:
        """Remove the first entries of a document, which are committed or refused; the rest is tried next."""
        del postponed.entries[:count]
        if postponed.entries:
            self.due.appendleft(postponed)
        elif postponed.is_locked:
            del self.locked[postponed.document_id]

    def commit(self, postponed: PostponedEntries, batch: Sequence[QueuedEntry]) -> None:
        """The first entries of a document are committed."""
        self.remove(postponed, len(batch))
        for queued in batch:
            self._callbacks.commit_postponed(postponed.document_id, queued.position)

    def retry_now(self) -> None:
        """End every delay."""
        for timer in self._timers.values():
            timer.reset(0)

    def _retry_later(self, postponed: PostponedEntries) -> None:
        self._timers[postponed] = self._reactor.callLater(postponed.delay, self._retry, postponed)

    def _retry(self, postponed: PostponedEntries) -> None:
        del self._timers[postponed]
        self.due.append(postponed)
        self._on_due()
