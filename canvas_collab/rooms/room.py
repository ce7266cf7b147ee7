"""A room: one live document, the connections to it, and the flushes of its updates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from canvas_collab.counters import Counters
from canvas_collab.document.document import Document
from canvas_collab.protocol import sync
from canvas_collab.protocol.steps import Steps
from canvas_collab.protocol.update import Update
from canvas_collab.rooms.awareness import Awareness
from canvas_collab.rooms.awareness_broadcaster import AwarenessBroadcaster
from canvas_collab.rooms.broadcast_queue import BroadcastQueue
from canvas_collab.rooms.fanout import Fanout, MemberT
from canvas_collab.rooms.full_sync import FullSync
from canvas_collab.rooms.pacing import FlushPacer
from canvas_collab.rooms.prepared_message import PreparedMessage

#: A larger update is merged, appended to the journal and sent in parts of about this many bytes, each an update.
PART_SIZE = 2**18

#: How many stateless messages are sent in one flush, and how many may wait.
STATELESS_AT_ONCE = 32
MAX_STATELESS_WAITING = 1000


@final
class Room(Generic[MemberT]):
    """One live document.

    An update is sent to the other connections at once, unless the pacer delays the flush.  The updates that wait for a
    flush are merged to one, and of the awareness states only the latest of each client is sent.
    """

    __slots__ = (
        "_broadcast",
        "_edits_in_progress",
        "_fanout",
        "_flush_call",
        "_has_replicated",
        "_journal",
        "_merge_waiters",
        "_pacer",
        "_queued_at",
        "_reactor",
        "_senders",
        "_stateless",
        "_updates",
        "awareness",
        "awareness_broadcaster",
        "counters",
        "document",
        "full_sync",
        "is_discarded",
        "members",
        "name",
    )

    def __init__(
        self,
        reactor: IReactorTime,
        name: str,
        document: Document,
        awareness: Awareness,
        pacer: FlushPacer,
        awareness_pacer: FlushPacer,
        journal: Callable[[str, str, bytes], None],
        counters: Counters,
    ) -> None:
        """:param pacer: decides when updates are flushed.
        :param awareness_pacer: decides when awareness states are flushed.
        :param journal: appends an update to the journal; called with the room's name, the user's id and the update.
        """
        self._reactor = reactor
        self.name = name
        self.document = document
        #: The messages for clients that have nothing of the document.
        self.full_sync = FullSync(document)
        #: Whether the document has been replaced by another one in the database.
        self.is_discarded = False
        self._pacer = pacer
        self._journal = journal
        self.counters = counters
        # When the oldest update of the next flush was queued.
        self._queued_at: float | None = None
        self._updates = BroadcastQueue()
        # The connections whose updates are in the queue, and whether some of it came from other daemons or commands.
        self._senders: set[MemberT] = set()
        self._has_replicated = False
        self._stateless: list[tuple[MemberT, PreparedMessage]] = []
        self._flush_call: IDelayedCall | None = None
        self._edits_in_progress = 0
        self._merge_waiters: list[Deferred[None]] = []
        self._fanout: Fanout[MemberT] = Fanout(document, self._updates, counters)
        self._broadcast = self._fanout.send
        self.members = self._fanout.members
        self.awareness = awareness
        self.awareness_broadcaster = AwarenessBroadcaster(
            reactor, awareness, awareness_pacer, self._fanout, self._updates, counters
        )

    @property
    def now(self) -> float:
        """The time in seconds of a monotonic clock."""
        return self._reactor.seconds()

    def join(self, member: MemberT) -> None:
        """Add a connection."""
        self.members.add(member)
        self.awareness_broadcaster.add(member)

    def leave(self, member: MemberT) -> None:
        """Remove a connection, and its awareness clients."""
        self._fanout.remove(member)
        self.awareness_broadcaster.remove(member)

    def edit(self, sender: MemberT, update: Update) -> Steps[None]:
        """Merge an update, append its new part to the journal, and send that to the other connections, in steps."""
        self._edits_in_progress += 1
        try:
            for part in update.split(PART_SIZE):
                if not part:
                    continue
                # Only the new part: clients that were sent two versions of a struct would not agree which one counts,
                # and may break on it. And in the log every struct has one time and one user.
                data = yield from self._updates.merge_new(self.document, part)
                if data is not None:
                    self.counters.updates_received += 1
                    self.counters.update_bytes_received += len(data)
                    self._journal(self.name, sender.user_id, data)
                    self._senders.add(sender)
                    self._schedule_flush()
        finally:
            self._edits_in_progress -= 1
            if not self._edits_in_progress:
                waiters, self._merge_waiters = self._merge_waiters, []
                for waiter in waiters:
                    waiter.callback(None)

    def edit_at_once(self, sender: MemberT, update: Update) -> bool:
        """:meth:`edit` with a small update, if that takes little time; otherwise return False, with nothing done."""
        new = self.document.merge_at_once(update)
        if new is None:
            return False
        if not new:
            return True
        data = new.encode()
        counters = self.counters
        counters.updates_received += 1
        counters.update_bytes_received += len(data)
        self._journal(self.name, sender.user_id, data)
        if self._flush_call is None and not self._updates.queue:
            now = self._reactor.seconds()
            if not self._pacer.delay(now):
                # Nothing is queued, and this need not be: the same as a flush of it alone.
                self._send_update(now, data, [new], sender)
                return True
        self._updates.queue.append((data, new))
        self._senders.add(sender)
        self._schedule_flush()
        return True

    def _send_update(self, now: float, data: bytes, updates: Sequence[Update], sender: MemberT) -> None:
        """Send an update to all connections but its sender, while none is queued."""
        self.counters.updates_sent += self._broadcast(PreparedMessage(sync.encode_update(data)), sender, updates)
        ended = self._reactor.seconds()
        self._pacer.flushed(now, ended)
        self.counters.fanout.observe(ended - now)
        if self.awareness_broadcaster.is_deferred:
            self.awareness_broadcaster.flush()

    def when_merged(self) -> Deferred[None]:
        """Return a Deferred that fires when no update is being merged."""
        merged: Deferred[None] = Deferred()
        if self._edits_in_progress:
            self._merge_waiters.append(merged)
        else:
            merged.callback(None)
        return merged

    def apply_replicated(self, update: Update) -> Steps[bool]:
        """Merge an update that another process has appended to the log, in steps; return whether any of it was new."""
        data = yield from self._updates.merge_new(self.document, update)
        if data is not None:
            self._has_replicated = True
            self._schedule_flush()
        return data is not None

    def broadcast_stateless(self, sender: MemberT, message: PreparedMessage) -> bool:
        """Send a stateless message to the other connections, after all earlier updates.

        Returns False if the message is dropped, as too many are waiting.
        """
        if len(self._stateless) >= MAX_STATELESS_WAITING:
            return False
        self._stateless.append((sender, message))
        self._schedule_flush()
        return True

    def catch_up(self, member: MemberT) -> Steps[list[PreparedMessage]]:
        """Return the messages with what a connection has missed under backpressure, in steps."""
        clocks = self._fanout.resume(member)
        if clocks is None:
            return []
        missed = yield from self.document.diff(clocks)
        return [PreparedMessage(sync.encode_update(missed)), *self.awareness_broadcaster.resync_messages(member)]

    def expire(self) -> None:
        """Remove stale awareness states, and cached messages that were not requested since the last call."""
        self.awareness_broadcaster.expire()
        self.full_sync.expire()

    def flush(self) -> None:
        """Send the updates and stateless messages since the last flush to the connections."""
        self._flush_call = None
        started = self._reactor.seconds()
        senders, self._senders = self._senders, set()
        stateless = self._stateless[:STATELESS_AT_ONCE]
        del self._stateless[:STATELESS_AT_ONCE]
        # The only sender has these updates. Of several senders each gets all of them, which does no harm.
        only_sender = next(iter(senders)) if len(senders) == 1 and not self._has_replicated else None
        self._has_replicated = False
        while self._updates:
            data, merged = self._updates.next()
            message = PreparedMessage(sync.encode_update(data))
            self.counters.updates_sent += self._broadcast(message, only_sender, merged)
        for sender, message in stateless:
            for member in list(self.members):
                if member is not sender:
                    member.send_stateless(message)
        ended = self._reactor.seconds()
        self._pacer.flushed(started, ended)
        if self._queued_at is not None:
            self.counters.fanout.observe(ended - self._queued_at)
            self._queued_at = None
        if self._stateless:
            self._flush_call = self._reactor.callLater(self._pacer.delay(self._reactor.seconds()), self.flush)
        if self.awareness_broadcaster.is_deferred:
            self.awareness_broadcaster.flush()

    def close(self) -> None:
        """Cancel the next flush, as the room leaves memory."""
        if self._flush_call is not None:
            self._flush_call.cancel()
        self._flush_call = None
        self.awareness_broadcaster.close()

    def _schedule_flush(self) -> None:
        if self._flush_call is None:
            now = self._reactor.seconds()
            if self._updates:
                self._queued_at = now
            if delay := self._pacer.delay(now):
                self._flush_call = self._reactor.callLater(delay, self.flush)
            else:
                self.flush()
