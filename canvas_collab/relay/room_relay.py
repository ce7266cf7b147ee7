"""One room on the bus: publishes what its connections do, and applies what other daemons publish."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Cooperator
from twisted.logger import Logger

from canvas_collab.bus.messages import Answer, AwarenessStates, Committed, Edit, Envelope, Message, Query, Stateless
from canvas_collab.protocol.awareness import Entry
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.steps import Steps
from canvas_collab.protocol.update import read_update
from canvas_collab.relay.awareness_relay import AwarenessRelay
from canvas_collab.relay.sequence import Order, Sequences
from canvas_collab.relay.uncommitted import ForeignEdits, PublishedEdit
from canvas_collab.rooms.commits import Commits
from canvas_collab.rooms.connection import Connection
from canvas_collab.rooms.prepared_message import PreparedMessage
from canvas_collab.rooms.room import Room
from canvas_collab.scheduling import run
from canvas_collab.timeouts import wait_at_most

#: What arrives while the document is being loaded is kept up to so many bytes.
MAX_WAITING_BYTES = 2**22

#: An update of at most so many bytes is applied at once, and a larger one in steps.
SMALL_UPDATE = 2**12


class Publisher(Protocol):
    """What a relay publishes through."""

    @property
    def origin(self) -> bytes:
        """This daemon's id on the bus."""

    def publish(self, room: str, number: int, message: Message) -> Deferred[int]:
        """Publish a message; fires with how many daemons subscribe to the room, this one included."""

    def closed(self, relay: RoomRelay) -> None:
        """A room has left memory."""


class RoomRelay:
    """Relays what happens in one room."""

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        name: str,
        publisher: Publisher,
        commits: Commits,
        missed: Callable[[], None],
        cooperator: Cooperator,
    ) -> None:
        """:param commits: the journal, to which the room's edits are appended before they are published.
        :param missed: called if an edit of another daemon may not have arrived.
        """
        self.name = name
        self._reactor = reactor
        self._publisher = publisher
        self._commits = commits
        self._missed = missed
        self._cooperator = cooperator
        self._room: Room[Connection] | None = None
        self._is_closed = False
        # Numbers that are higher than those of an earlier relay of the room, also after the system's time was set.
        self._number = time.monotonic_ns() // 1000
        self._sequences = Sequences()
        #: The edits of other daemons.
        self.foreign = ForeignEdits()
        # The edits of this daemon that are not committed, and whether their commit is waited for.
        self._uncommitted: deque[tuple[int, Edit]] = deque()
        self._waits_for_commit = False
        # What has arrived while the room was being loaded, and what has to be merged in steps.
        self._waiting: list[Envelope] = []
        self._waiting_bytes = 0
        self._updates: deque[bytes] = deque()
        self._is_merging = False
        self._awareness = AwarenessRelay(reactor, self._publish)
        # What waits for answers, and how many are outstanding.
        self._answered: Deferred[None] | None = None
        self._answers = 0

    # What the room's connections do.

    def edited(self, user_id: str, update: bytes) -> None:
        """Publish an update that the journal has taken in."""
        edit = Edit(user_id, update)
        self._uncommitted.append((self._publish(edit), edit))
        self._wait_for_commit()

    def _wait_for_commit(self) -> None:
        if not self._waits_for_commit and self._uncommitted:
            self._waits_for_commit = True
            self._commits.after_commit(self.name, partial(self._committed, self._uncommitted[-1][0]))

    def _committed(self, number: int) -> None:
        self._waits_for_commit = False
        while self._uncommitted and self._uncommitted[0][0] <= number:
            self._uncommitted.popleft()
        if not self._is_closed:
            self._publish(Committed(number))
            self._wait_for_commit()

    def awareness_changed(self, changes: Sequence[Entry]) -> None:
        """Publish changed awareness states, the latest of each client."""
        self._awareness.changed(changes)

    def joined(self, member: Hashable) -> None:
        """Ask the other daemons for their awareness states."""
        if isinstance(member, Connection):
            self._awareness.joined(member)

    def stateless(self, message: PreparedMessage) -> None:
        """Publish a stateless message."""
        self._publish(Stateless(message.payload))

    def close(self) -> None:
        """Publish and apply nothing more."""
        self._awareness.close()
        self._is_closed = True
        self._room = None
        self._publisher.closed(self)

    def _publish(self, message: Message) -> int:
        self._number += 1
        self._publisher.publish(self.name, self._number, message)
        return self._number

    # What other daemons publish.

    async def attach(self, room: Room[Connection], answer_timeout: float) -> None:
        """Apply to a room that was loaded what others publish, and what they have not committed yet.

        :param answer_timeout: how long their answers are waited for, in seconds.
        """
        self._room = room
        self._awareness.attach(room)
        room.relay = self
        self._number += 1
        asked = self._publisher.publish(self.name, self._number, Query())
        # A server that does not answer delays no room for longer.
        self._answers += await wait_at_most(self._reactor, asked, answer_timeout, 0) - 1
        if self._answers > 0:
            self._answered = Deferred()
            timer = self._reactor.callLater(answer_timeout, self._end_waiting)
            await self._answered
            if timer.active():
                timer.cancel()
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        for envelope in waiting:
            self._apply(envelope)
        while self._is_merging and not self._is_closed:
            await run(self._cooperator, _pause())

    def _end_waiting(self) -> None:
        answered, self._answered = self._answered, None
        if answered is not None:
            answered.callback(None)

    def received(self, envelope: Envelope, size: int) -> None:
        """Apply a message of another daemon.

        :param size: how many bytes it has.
        """
        if self._is_closed:
            return
        order = self._sequences.receive(envelope.origin, envelope.number)
        if order is Order.OLD:
            return
        if order is Order.GAP:
            self._missed()
        message = envelope.message
        if isinstance(message, Answer) and message.to == self._publisher.origin:
            self._answers -= 1
            if self._answers <= 0:
                # After this one is applied, or added to what waits.
                self._reactor.callLater(0, self._end_waiting)
        if isinstance(message, Query):
            # Also while this room is being loaded: the other may be loading it too, and wait for this answer.
            self._publish(Answer(envelope.origin, tuple(self._uncommitted), self._awareness.local_states()))
        elif self._room is not None and self._answered is None:
            self._apply(envelope)
        elif self._waiting_bytes + size > MAX_WAITING_BYTES:
            self._missed()
        else:
            self._waiting.append(envelope)
            self._waiting_bytes += size

    def _apply(self, envelope: Envelope) -> None:
        room, origin, message = self._room, envelope.origin, envelope.message
        if room is None:
            return
        if isinstance(message, Edit):
            self._apply_edit(origin, envelope.number, message)
        elif isinstance(message, Committed):
            self.foreign.commit(origin, message.number)
        elif isinstance(message, AwarenessStates):
            self._awareness.apply(origin, message.states, is_answer=False)
        elif isinstance(message, Stateless):
            room.broadcast_stateless(None, PreparedMessage(message.payload))
        elif isinstance(message, Answer) and message.to == self._publisher.origin:
            for number, edit in message.edits:
                self._apply_edit(origin, number, edit)
            self._awareness.apply(origin, message.states, is_answer=True)

    def _apply_edit(self, origin: bytes, number: int, edit: Edit) -> None:
        self.foreign.add(origin, PublishedEdit(number, edit, self._reactor.seconds()))
        self._updates.append(edit.update)
        if not self._is_merging:
            self._is_merging = True
            # Nearly every update is small: it is merged at once, without a turn of the reactor in between.
            if len(edit.update) <= SMALL_UPDATE:
                for _ in self._merge_all():
                    pass
            else:
                merging = Deferred.fromCoroutine(run(self._cooperator, self._merge_all()))
                merging.addErrback(lambda failure: self.log.failure("relaying failed", failure))

    def _merge_all(self) -> Steps[None]:
        try:
            while self._updates and self._room is not None:
                data = self._updates.popleft()
                try:
                    update = yield from read_update(data, None)
                    if self._room is not None:
                        yield from self._room.apply_replicated(update)
                except Malformed as error:
                    self.log.error("relaying failed", room=self.name, reason=f"an edit cannot be read: {error}")
                yield
        finally:
            self._is_merging = False

    def daemon_stopped(self, origin: bytes) -> None:
        """Remove the awareness clients of a daemon that has stopped."""
        self._sequences.forget(origin)
        self.foreign.forget(origin)
        self._awareness.daemon_stopped(origin)

    def messages_missed(self) -> None:
        """Ask the others for what may have been missed, and publish the states that they may have missed."""
        if self._room is not None:
            self._publish(Query())
            self._publish(AwarenessStates(self._awareness.local_states()))


def _pause() -> Steps[None]:
    yield
