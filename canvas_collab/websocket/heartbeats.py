"""Answering the heartbeats of y-sweet's client: a counter of its edits, which is sent back when all of them are saved.

The client compares the counter in the answer with its own, and thus shows whether it has unsaved changes.  It also
counts edits made offline, which arrive only with its first sync step 2, so no counter is sent back before that.  The
client reconnects if it receives nothing for three seconds after a heartbeat, so while a counter waits for a commit the
client is sent an empty awareness update as a keep-alive.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from twisted.internet.interfaces import IReactorTime

from canvas_collab.protocol import sync
from canvas_collab.protocol.awareness import EMPTY_AWARENESS
from canvas_collab.rooms.commits import Commits
from canvas_collab.rooms.prepared_message import PreparedMessage

#: The least time between two keep-alives, in seconds. The client sends its next heartbeat two seconds after each.
KEEP_ALIVE_INTERVAL = 1.0


@final
class Heartbeats:
    """Answers the heartbeats of one connection.

    One counter at a time waits for a commit, and the newest that was received meanwhile waits for its turn: an answer
    to a counter covers all counters before it.
    """

    __slots__ = (
        "_clock",
        "_committing",
        "_document_id",
        "_has_refused_edit",
        "_is_synced",
        "_journal",
        "_newest",
        "_next_keep_alive",
        "_offer",
    )

    def __init__(
        self, clock: IReactorTime, journal: Commits, document_id: str, offer: Callable[[PreparedMessage], bool]
    ) -> None:
        """:param offer: sends a message, unless the client does not read; returns False if it was not sent."""
        self._clock = clock
        self._journal = journal
        self._document_id = document_id
        self._offer = offer
        # The counter that waits for a commit, and the newest one that was received since.
        self._committing: bytes | None = None
        self._newest: bytes | None = None
        self._is_synced = False
        self._has_refused_edit = False
        self._next_keep_alive = 0.0

    def received(self, counter: bytes) -> None:
        """Answer a heartbeat when everything that was received before it is committed."""
        is_waiting = self._committing is not None
        self._newest = counter
        self._await_commit()
        if (is_waiting or self._has_newest()) and (now := self._clock.seconds()) >= self._next_keep_alive:
            self._next_keep_alive = now + KEEP_ALIVE_INTERVAL
            self._offer(PreparedMessage(sync.encode_awareness(EMPTY_AWARENESS)))

    def _has_newest(self) -> bool:
        # In a function of its own: mypyc would take the counter for the one that was set before the commit was awaited.
        return self._newest is not None

    def sync_completed(self) -> None:
        """Called after a sync step 2 of the client, which has the edits that it made offline."""
        self._is_synced = True
        self._await_commit()

    def edit_refused(self) -> None:
        """Called when an edit of the client was refused: from now on no counter means that everything is saved."""
        self._has_refused_edit = True

    def backpressure_ended(self) -> None:
        """Called when the client reads again."""
        self._await_commit()

    def _await_commit(self) -> None:
        if self._newest is None or self._committing is not None or not self._is_synced or self._has_refused_edit:
            return
        self._committing, self._newest = self._newest, None
        self._journal.after_commit(self._document_id, self._committed)

    def _committed(self) -> None:
        counter, self._committing = self._committing, None
        if counter is None or self._has_refused_edit:
            return
        if not self._offer(PreparedMessage(sync.encode_heartbeat(counter))) and self._newest is None:
            # It is sent when the client reads again.
            self._newest = counter
            return
        self._await_commit()
