"""The awareness of one room on the bus: publishes the states of clients here, applies those of other daemons."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from canvas_collab.bus.messages import AwarenessStates, Message, Query
from canvas_collab.protocol import awareness as awareness_format
from canvas_collab.protocol.awareness import Entry
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.rooms.connection import Connection
from canvas_collab.rooms.replicated_awareness import apply_replicated
from canvas_collab.rooms.room import Room

#: Changes of awareness are published at most once in so many seconds.
AWARENESS_WINDOW = 0.01

#: The others are asked for their states at most once in so many seconds, and a connection that has joined is sent what
#: they answer for so long.
QUERY_INTERVAL = 0.1
JOINING_TIME = 2.0

#: Awareness updates, each with the id of the user whose clients' states it has.
States = tuple[tuple[str, bytes], ...]


class AwarenessRelay:
    """Relays the awareness of one room."""

    log = Logger()

    def __init__(self, reactor: IReactorTime, publish: Callable[[Message], object]) -> None:
        self._reactor = reactor
        self._publish = publish
        self._room: Room[Connection] | None = None
        self._changes: dict[int, Entry] = {}
        self._publish_call: IDelayedCall | None = None
        self._query_call: IDelayedCall | None = None
        # The connections that have joined lately, and when.
        self._joined: dict[Connection, float] = {}

    def attach(self, room: Room[Connection]) -> None:
        """Apply to a room what others publish."""
        self._room = room

    def close(self) -> None:
        """Publish what has changed, and nothing more."""
        self._publish_changes()
        self._room = None
        for call in (self._publish_call, self._query_call):
            if call is not None and call.active():
                call.cancel()

    def changed(self, changes: Iterable[Entry]) -> None:
        """Publish changed states, the latest of each client."""
        self._changes.update((entry.client_id, entry) for entry in changes)
        if self._publish_call is None:
            self._publish_call = self._reactor.callLater(AWARENESS_WINDOW, self._publish_changes)

    def _publish_changes(self) -> None:
        self._publish_call = None
        changes, self._changes = self._changes, {}
        if self._room is None:
            return
        by_user: dict[str, list[Entry]] = {}
        for entry in changes.values():
            client = self._room.awareness.get(entry.client_id)
            if client is not None:
                by_user.setdefault(client.user, []).append(entry)
        if by_user:
            self._publish(AwarenessStates(_encode(by_user)))

    def joined(self, member: Connection) -> None:
        """Ask the others for their states at clocks that a connection cannot know yet.

        It knows the clocks of clients of an earlier connection, maybe to another daemon.
        """
        self._joined[member] = self._reactor.seconds()
        if self._query_call is None:
            self._query_call = self._reactor.callLater(0, self._query)

    def _query(self) -> None:
        self._query_call = self._reactor.callLater(QUERY_INTERVAL, self._query_again, self._reactor.seconds())
        self._publish(Query())

    def _query_again(self, queried_at: float) -> None:
        self._query_call = None
        now = self._reactor.seconds()
        self._joined = {member: joined for member, joined in self._joined.items() if now - joined < JOINING_TIME}
        if any(joined >= queried_at for joined in self._joined.values()):
            self._query()
        elif self._joined:
            self._query_call = self._reactor.callLater(JOINING_TIME, self._query_again, now)

    def local_states(self) -> States:
        """Return the states of the clients of this daemon, at clocks that nobody knows yet."""
        by_user: dict[str, list[Entry]] = {}
        for client in self._room.awareness.raise_local() if self._room is not None else ():
            by_user.setdefault(client.user, []).append(client.entry)
        return _encode(by_user)

    def apply(self, origin: bytes, states: Sequence[tuple[str, bytes]], is_answer: bool) -> None:
        """Apply the states that another daemon has published.

        :param is_answer: whether this daemon has asked for them; then connections that have joined are sent all.
        """
        room = self._room
        if room is None:
            return
        try:
            entries = [(user, entry) for user, payload in states for entry in awareness_format.decode(payload)]
        except Malformed as error:
            self.log.error("relaying failed", room=room.name, reason=f"awareness states cannot be read: {error}")
            return
        now = self._reactor.seconds()
        result = apply_replicated(room.awareness, entries, origin, now)
        room.awareness_broadcaster.broadcast(result.changes)
        if is_answer and result.raised:
            for member, joined in self._joined.items():
                if now - joined < JOINING_TIME and member in room.members:
                    for message in room.awareness_broadcaster.messages_with(member, result.raised):
                        member.channel.send(message)

    def daemon_stopped(self, origin: bytes) -> None:
        """Remove the awareness clients of a daemon that has stopped."""
        if self._room is not None:
            changes = self._room.awareness.leave(origin, self._reactor.seconds())
            self._room.awareness_broadcaster.broadcast(changes)


def _encode(by_user: dict[str, list[Entry]]) -> States:
    return tuple((user, awareness_format.encode(entries)) for user, entries in by_user.items())
