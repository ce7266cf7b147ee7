"""Sending the awareness states of a room to its connections."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from canvas_collab.counters import Counters
from canvas_collab.protocol import awareness as awareness_format
from canvas_collab.protocol import sync
from canvas_collab.protocol.awareness import Entry
from canvas_collab.rooms.awareness import Awareness
from canvas_collab.rooms.broadcast_queue import BroadcastQueue
from canvas_collab.rooms.echo_filter import EchoFilter
from canvas_collab.rooms.fanout import Fanout, MemberT
from canvas_collab.rooms.pacing import FlushPacer
from canvas_collab.rooms.prepared_message import PreparedMessage

#: The maximum size of an awareness update in bytes, unless a single state is larger.
MAX_BROADCAST_SIZE = 32 * 2**10


@final
class AwarenessBroadcaster(Generic[MemberT]):
    """Broadcasts changes of awareness, the latest of each client, and makes the messages for single connections.

    What it sends it records in the echo filter.
    """

    __slots__ = (
        "_awareness",
        "_counters",
        "_echo_filter",
        "_flush_call",
        "_pacer",
        "_pending",
        "_query_response",
        "_reactor",
        "_send",
        "_updates",
        "flushed_at",
        "is_deferred",
        "is_echo",
    )

    def __init__(
        self,
        reactor: IReactorTime,
        awareness: Awareness,
        pacer: FlushPacer,
        fanout: Fanout[MemberT],
        updates: BroadcastQueue,
        counters: Counters,
    ) -> None:
        """:param updates: the document's updates to be sent; awareness states may refer to them, so they go first."""
        self._reactor = reactor
        self._awareness = awareness
        self._pacer = pacer
        self._send = fanout.send
        self._updates = updates
        self._counters = counters
        self._echo_filter = EchoFilter()
        #: Returns whether an awareness update that a connection sends repeats one that it was sent.
        self.is_echo = self._echo_filter.is_echo
        #: Whether a flush waits for the flush of the document's updates.
        self.is_deferred = False
        self._pending: dict[int, Entry] = {}
        self._flush_call: IDelayedCall | None = None
        #: When all connections were sent an awareness message last, in seconds of a monotonic clock.
        self.flushed_at = float("-inf")
        # The response to an awareness query: the version of the awareness, its updates, and the messages with them.
        self._query_response: tuple[int, list[bytes], list[PreparedMessage]] | None = None

    def add(self, member: MemberT) -> None:
        """Add a connection."""
        self._echo_filter.add_member(member)

    def remove(self, member: MemberT) -> None:
        """Remove a connection, and broadcast that its clients have left."""
        self._echo_filter.remove_member(member)
        self.broadcast(self._awareness.leave(member, self._reactor.seconds()))

    def expire(self) -> None:
        """Remove stale states, and broadcast that their clients have left."""
        self.broadcast(self._awareness.expire(self._reactor.seconds()))

    def broadcast(self, changes: list[Entry]) -> None:
        """Send changed states to all connections, at once or when the pacer permits."""
        if not changes:
            return
        self._pending.update((entry.client_id, entry) for entry in changes)
        if self._flush_call is None and not self.is_deferred:
            if delay := self._pacer.delay(self._reactor.seconds()):
                self._flush_call = self._reactor.callLater(delay, self.flush)
            else:
                self.flush()

    def flush(self) -> None:
        """Send all connections the states that have changed since the last flush."""
        self._flush_call = None
        # A cursor may refer to what was just typed, so the document's updates have to be sent first.
        self.is_deferred = bool(self._updates)
        if self.is_deferred:
            return
        started = self._reactor.seconds()
        pending, self._pending = self._pending, {}
        # The sender gets its own states back: clients close a connection on which they receive nothing.
        for payload in _pack(map(awareness_format.encode_entry, pending.values())):
            self._echo_filter.record_broadcast(payload)
            self._counters.awareness_sent += self._send(PreparedMessage(sync.encode_awareness(payload)))
        self.flushed_at = self._reactor.seconds()
        self._pacer.flushed(started, self._reactor.seconds())

    def joining_messages(self, member: MemberT) -> list[PreparedMessage]:
        """Return the messages with the states of all present clients, for a connection that joins."""
        return self._record(member, _pack(self._awareness.encode_for_joining()))

    def query_response(self, member: MemberT) -> list[PreparedMessage]:
        """Return the messages that answer an awareness query; they are encoded once until the awareness changes."""
        if self._query_response is None or self._query_response[0] != self._awareness.version:
            payloads = _pack(self._awareness.encode_present()) or [awareness_format.EMPTY_AWARENESS]
            messages = [PreparedMessage(sync.encode_awareness(payload)) for payload in payloads]
            self._query_response = self._awareness.version, payloads, messages
        _, payloads, messages = self._query_response
        self._record(member, payloads)
        return messages

    def resync_messages(self, member: MemberT) -> list[PreparedMessage]:
        """Return the messages with all present clients and the tombstones, for a connection that has missed some."""
        return self._record(member, _pack(self._awareness.encode_known()))

    def correction_messages(self, member: MemberT, corrections: list[Entry]) -> list[PreparedMessage]:
        """Return the messages with corrections of a connection's own clients."""
        return self._record(member, _pack(map(awareness_format.encode_entry, corrections)))

    def _record(self, member: MemberT, payloads: list[bytes]) -> list[PreparedMessage]:
        for payload in payloads:
            self._echo_filter.record_sent(member, payload)
        return [PreparedMessage(sync.encode_awareness(payload)) for payload in payloads]

    def close(self) -> None:
        """Cancel the next flush."""
        if self._flush_call is not None:
            self._flush_call.cancel()
        self._flush_call = None


def _pack(entries: Iterable[bytes]) -> list[bytes]:
    return awareness_format.pack(entries, MAX_BROADCAST_SIZE)
