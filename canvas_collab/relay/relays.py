"""The relays of all rooms, and the daemons that take part: who is there, who has stopped, and whose edits to commit."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Cooperator, LoopingCall
from twisted.logger import Logger

from canvas_collab.bus.interface import Bus
from canvas_collab.bus.messages import (
    CONTROL,
    ORIGIN_SIZE,
    Codec,
    Envelope,
    ForeignMessage,
    Goodbye,
    Heartbeat,
    Kick,
    Message,
)
from canvas_collab.document.document import Document
from canvas_collab.protocol.update import decode_update
from canvas_collab.relay.room_relay import RoomRelay
from canvas_collab.relay.sequence import Order, Sequences
from canvas_collab.relay.uncommitted import PublishedEdit
from canvas_collab.rooms.commits import Commits
from canvas_collab.rooms.connection import Connection
from canvas_collab.rooms.room import Room
from canvas_collab.timeouts import wait_at_most

#: How often a daemon says that it is running, and after how long without a message it counts as stopped, in seconds.
HEARTBEAT_INTERVAL = 2.0
SILENCE_TIMEOUT = 7.0

#: How long a room that is loaded waits for the subscription, and for the edits that others have not committed, in
#: seconds.
SUBSCRIBE_TIMEOUT = 0.25
ANSWER_TIMEOUT = 0.25

#: An edit that its daemon has not reported as committed for so many seconds is committed by another one; daemons wait
#: longer by so much for each one before them, so that one alone does.
ADOPT_AFTER = 10.0
ADOPT_INTERVAL = 3.0

#: How long a room that is unloaded waits for the commits of others.
SETTLE_TIMEOUT = 2.0
SETTLE_INTERVAL = 0.05

#: After a message of somebody else was logged, others are not logged for this many seconds.
LOG_AGAIN_AFTER = 60.0

#: Loads the room of that name.
LoadRoom = Callable[[str], Awaitable[Room[Connection]]]


class Relays(MultiService):
    """Makes the relays of rooms, and connects them to the bus."""

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        bus: Bus,
        codec: Codec,
        prefix: str,
        commits: Commits,
        append: Callable[[str, str, bytes], None],
        load: Callable[[str], Awaitable[Document]],
        missed: Callable[[], None],
        kick: Callable[[str, str], object],
        cooperator: Cooperator,
    ) -> None:
        """:param prefix: with what the names of channels begin.
        :param append: appends to the journal; called with a room's name, a user's id and an update.
        :param load: returns a stored document.
        :param missed: called if edits of other daemons may not have arrived: the log has to be searched for them.
        :param kick: closes connections, of a user in a room; an empty string stands for all.
        """
        MultiService.__init__(self)
        Service.setServiceParent(bus, self)
        #: This daemon's id on the bus.
        self.origin = secrets.token_bytes(ORIGIN_SIZE)
        self._reactor = reactor
        self._bus = bus
        bus.listener = self
        self._codec = codec
        self._prefix = prefix
        self._commits = commits
        self._append = append
        self._load = load
        self._missed = missed
        self._kick = kick
        self._cooperator = cooperator
        self._control = codec.channel(prefix, CONTROL)
        self._number = 0
        self._sequences = Sequences()
        self._relays: dict[str, RoomRelay] = {}
        # When each of the other daemons was heard last.
        self._heard: dict[bytes, float] = {}
        self._logged_at = float("-inf")
        self._beating = LoopingCall(self._beat)
        self._beating.clock = reactor

    @property
    def problem(self) -> str | None:
        """Why the bus cannot be used; None if it can."""
        return self._bus.problem

    @property
    def daemons(self) -> int:
        """How many other daemons were heard lately."""
        return len(self._heard)

    def startService(self) -> None:
        """Take part."""
        MultiService.startService(self)
        self._bus.subscribe(self._control)
        self._beating.start(HEARTBEAT_INTERVAL)

    def stopService(self) -> Deferred[Any]:
        """Say goodbye, after the connections were closed and their edits committed."""
        self._beating.stop()
        for relay in list(self._relays.values()):
            relay.close()
        self._publish_control(Goodbye())
        stopped: Deferred[Any] = MultiService.stopService(self)
        return stopped

    # Rooms.

    def loading(
        self, load: Callable[[str], Awaitable[Room[Connection]]]
    ) -> Callable[[str], Awaitable[Room[Connection]]]:
        """Return a function that loads rooms with `load`, and connects them to the bus."""

        async def load_relayed(name: str) -> Room[Connection]:
            relay = await self._open(name)
            try:
                room = await load(name)
            except BaseException:
                relay.close()
                raise
            await relay.attach(room, ANSWER_TIMEOUT)
            return room

        return load_relayed

    async def _open(self, name: str) -> RoomRelay:
        """Return the relay of a room that is about to be loaded: what others publish from now on, it keeps."""
        channel = self._codec.channel(self._prefix, name)
        previous = self._relays.pop(channel, None)
        if previous is not None:
            previous.close()
        relay = RoomRelay(self._reactor, name, self, self._commits, self._missed, self._cooperator)
        self._relays[channel] = relay
        await wait_at_most(self._reactor, self._bus.subscribe(channel), SUBSCRIBE_TIMEOUT, False)
        return relay

    async def settle(self, name: str) -> None:
        """Wait until others have committed their edits of a room, and append to the journal what they have not."""
        relay = self._relays.get(self._codec.channel(self._prefix, name))
        if relay is None:
            return
        deadline = self._reactor.seconds() + SETTLE_TIMEOUT
        while relay.foreign and self._reactor.seconds() < deadline:
            pause: Deferred[None] = Deferred()
            self._reactor.callLater(SETTLE_INTERVAL, pause.callback, None)
            await pause
        await self._adopt(relay, float("inf"))

    def publish(self, room: str, number: int, message: Message) -> Deferred[int]:
        """Publish a message about a room."""
        return self._publish(self._codec.channel(self._prefix, room), number, message)

    def closed(self, relay: RoomRelay) -> None:
        """A room has left memory."""
        channel = self._codec.channel(self._prefix, relay.name)
        if self._relays.get(channel) is relay:
            del self._relays[channel]
            self._bus.unsubscribe(channel)

    # The bus.

    def received(self, channel: str, data: bytes) -> None:
        """Called with every message on a channel that is subscribed to, those of this daemon included."""
        try:
            envelope = self._codec.decode(channel, data)
        except ForeignMessage as error:
            self._log_ignored(str(error))
            return
        if envelope.origin == self.origin:
            return
        if channel == self._control:
            self._received_control(envelope)
            return
        relay = self._relays.get(channel)
        if relay is not None:
            relay.received(envelope, len(data))

    def missed(self) -> None:
        """Called when messages on any channel may have been missed, and others arrive again."""
        self._publish_control(Heartbeat(is_first=True))
        for relay in list(self._relays.values()):
            relay.messages_missed()
        self._missed()

    def kick(self, user_id: str, room: str) -> None:
        """Close connections to the other daemons, of a user in a room; an empty string stands for all."""
        self._publish_control(Kick(user_id, room))

    def _received_control(self, envelope: Envelope) -> None:
        if self._sequences.receive(envelope.origin, envelope.number) is Order.OLD:
            return
        is_new = envelope.origin not in self._heard
        self._heard[envelope.origin] = self._reactor.seconds()
        message = envelope.message
        if isinstance(message, Goodbye):
            self._stopped(envelope.origin, "it was stopped")
        elif isinstance(message, Heartbeat):
            if is_new:
                self.log.info("daemon joined", daemon=envelope.origin.hex()[:8], others=len(self._heard))
            if message.is_first:
                self._publish_control(Heartbeat())
        elif isinstance(message, Kick):
            self._kick(message.user_id, message.room)

    def _publish_control(self, message: Message) -> None:
        self._number += 1
        self._publish(self._control, self._number, message)

    def _publish(self, channel: str, number: int, message: Message) -> Deferred[int]:
        return self._bus.publish(channel, self._codec.encode(channel, Envelope(self.origin, number, message)))

    def _log_ignored(self, reason: str) -> None:
        now = self._reactor.seconds()
        if now - self._logged_at >= LOG_AGAIN_AFTER:
            self._logged_at = now
            self.log.warn("bus message ignored", reason=reason)

    # The other daemons.

    def _beat(self) -> None:
        self._publish_control(Heartbeat(is_first=not self._heard))
        now = self._reactor.seconds()
        for origin, heard in list(self._heard.items()):
            if now - heard > SILENCE_TIMEOUT:
                self._stopped(origin, f"it was not heard for {SILENCE_TIMEOUT:g} s")
        rank = sum(origin < self.origin for origin in self._heard)
        for relay in list(self._relays.values()):
            if relay.foreign:
                Deferred.fromCoroutine(self._adopt(relay, now - ADOPT_AFTER - rank * ADOPT_INTERVAL))

    def _stopped(self, origin: bytes, reason: str) -> None:
        del self._heard[origin]
        self._sequences.forget(origin)
        for relay in list(self._relays.values()):
            relay.daemon_stopped(origin)
        self.log.info("daemon left", daemon=origin.hex()[:8], reason=reason, others=len(self._heard))

    async def _adopt(self, relay: RoomRelay, received_before: float) -> None:
        """Append edits of others to the journal that are not in the log, as their daemons have not committed them.

        Clients here have these edits, and their own may depend on them.
        """
        overdue = relay.foreign.received_before(received_before)
        if not overdue:
            return
        try:
            document = await self._load(relay.name)
        except Exception as error:
            # What keeps the daemon from loading keeps it from committing, too.
            self.log.warn("edits not adopted", room=relay.name, reason=" ".join(str(error).split()))
            return
        for origin, edits in overdue.items():
            for published in edits:
                self._adopt_edit(relay, document, published)
                relay.foreign.remove(origin, published)

    def _adopt_edit(self, relay: RoomRelay, document: Document, published: PublishedEdit) -> None:
        new = document.apply(decode_update(published.edit.update))
        if new:
            self._append(relay.name, published.edit.user_id, new.encode())
            self.log.warn("edit adopted", room=relay.name, user=published.edit.user_id, reason="its daemon has stopped")
