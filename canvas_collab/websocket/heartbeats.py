"""The heartbeats of y-sweet's client: a counter of its edits, said back when all of them are on disk.

The client compares what comes back with what it has counted, and shows by that whether it has unsaved changes.  It
counts edits made offline as well, which arrive only with its first step 2: nothing is said back before.  And on hearing
nothing for three seconds after a heartbeat it reconnects, so while a counter has to wait it gets a sign of life.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from canvas_collab.protocol import sync
from canvas_collab.protocol.awareness import EMPTY_AWARENESS
from canvas_collab.rooms.commits import Commits
from canvas_collab.rooms.prepared_message import PreparedMessage

#: Signs of life are so many seconds apart at least: a client that hears one says something again after two.
KEEP_ALIVE_INTERVAL = 1.0


class Heartbeats:
    """The heartbeats of one connection.  Of the counters that wait, the latest stands for all before it."""

    __slots__ = (
        "_clock",
        "_document_id",
        "_is_complete",
        "_journal",
        "_lacks_something",
        "_latest",
        "_next_sign",
        "_offer",
        "_waiting",
    )

    def __init__(
        self, clock: IReactorTime, journal: Commits, document_id: str, offer: Callable[[PreparedMessage], bool]
    ) -> None:
        """:param offer: sends a message, unless the client does not read; returns False if it was not sent."""
        self._clock = clock
        self._journal = journal
        self._document_id = document_id
        self._offer = offer
        # The counter that waits for a commit, and the latest that came in the meantime.
        self._waiting: bytes | None = None
        self._latest: bytes | None = None
        self._is_complete = False
        self._lacks_something = False
        self._next_sign = 0.0

    def received(self, counter: bytes) -> None:
        """The client has sent a heartbeat."""
        waits_long = self._waiting is not None
        self._latest = counter
        self._say_back()
        if (waits_long or self._latest is not None) and (now := self._clock.seconds()) >= self._next_sign:
            self._next_sign = now + KEEP_ALIVE_INTERVAL
            self._offer(PreparedMessage(sync.encode_awareness(EMPTY_AWARENESS)))

    def sync_completed(self) -> None:
        """The client has sent what it had before it connected."""
        self._is_complete = True
        self._say_back()

    def edit_refused(self) -> None:
        """Something of the client's was not taken: no counter from now on means that everything is here."""
        self._lacks_something = True

    def backpressure_ended(self) -> None:
        """The client reads again."""
        self._say_back()

    def _say_back(self) -> None:
        if self._latest is None or self._waiting is not None or not self._is_complete or self._lacks_something:
            return
        self._waiting, self._latest = self._latest, None
        self._journal.after_commit(self._document_id, self._committed)

    def _committed(self) -> None:
        counter, self._waiting = self._waiting, None
        if counter is None or self._lacks_something:
            return
        if not self._offer(PreparedMessage(sync.encode_heartbeat(counter))) and self._latest is None:
            # For when the client reads again.
            self._latest = counter
            return
        self._say_back()
