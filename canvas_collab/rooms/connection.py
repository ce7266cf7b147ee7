"""One client's connection to one document: what it may do, and what its messages mean.

Which protocol carries the messages does not matter here; that is the carrier's business.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Protocol

from twisted.logger import Logger

from canvas_collab.access.authentication import Credential
from canvas_collab.access.authorization import Authorization, Denied
from canvas_collab.access.fair_semaphore import Requester
from canvas_collab.access.roles import Access
from canvas_collab.config.connections import ConnectionLimits
from canvas_collab.protocol import awareness as awareness_format
from canvas_collab.protocol import sync
from canvas_collab.protocol.close_codes import CloseCode, ProtocolViolation
from canvas_collab.protocol.json_text import check_long_json
from canvas_collab.protocol.lib0 import Malformed, TooLarge
from canvas_collab.protocol.state_vector import EMPTY_STATE_VECTOR
from canvas_collab.protocol.steps import Steps
from canvas_collab.protocol.update import Update, read_update
from canvas_collab.rooms.awareness import LONG
from canvas_collab.rooms.commits import JournalState
from canvas_collab.rooms.prepared_message import PreparedMessage
from canvas_collab.rooms.room import Room

#: So many states of an awareness message are read at once.
STATES_PER_STEP = 256

#: A connection whose messages are dropped is logged again after so many seconds.
LOG_AGAIN_AFTER = 60.0

#: A document that is full may grow by this share through deletions, which are how it becomes smaller again.
ROOM_FOR_DELETIONS = 0.25

#: Of an update of fewer bytes only these are counted before it is taken in.
SMALL = 2**10


class Channel(Protocol):
    """What brings a connection's messages to the client, in the protocol that it speaks."""

    @property
    def requester(self) -> Requester:
        """Who waits for what is looked up: the client's socket."""

    @property
    def client(self) -> str:
        """The client's address, for the log."""

    @property
    def protocol(self) -> str:
        """Which protocol that is, for the log."""

    def pause_reading_until(self, subscribe: Callable[[Callable[[], None]], None]) -> None:
        """Read nothing of the client until something has happened, or for a second.

        :param subscribe: is given what is to be called then.
        """

    @property
    def acknowledges(self) -> bool:
        """Whether the client is told of every update whether it counts."""

    def send(self, message: PreparedMessage) -> None:
        """Send a message of y-protocols."""

    def offer(self, message: PreparedMessage) -> bool:
        """Send a message, unless the client does not read; returns False if it was not sent for that reason."""

    def kept(self, update: Update) -> None:
        """An edit that the client has made is part of the document, and on its way to disk."""

    def send_stateless(self, message: PreparedMessage) -> None:
        """Send a stateless message, where the protocol has such."""

    def close(self, denied: Denied) -> None:
        """End the connection: who came in may not stay."""

    def access_changed(self) -> None:
        """The connection's role has changed, or was confirmed anew."""

    def ask_for_token(self) -> None:
        """The session ends soon: ask for the token of a newer one, where the protocol can."""


class Effect(enum.Enum):
    """What a message did to the document."""

    #: Nothing; it was not meant to.
    NONE = enum.auto()
    #: What it brought is part of the document, and on its way to disk.
    KEPT = enum.auto()
    #: The connection may only read.
    REFUSED = enum.auto()


class Connection:
    """A client in a room.  It hears of everything; what it says counts as far as its role allows.

    What it has said counts no more once it has left, even if that is being dealt with: the room may be out of memory,
    and nobody would take its cursor out again.  Only an update that is being merged then is to its end.
    """

    log = Logger()

    __slots__ = (
        "_has_announced",
        "_has_left",
        "_journal",
        "_limits",
        "_logged",
        "_unsaved",
        "access",
        "channel",
        "credential",
        "offer",
        "room",
        "user_id",
    )

    def __init__(
        self,
        channel: Channel,
        room: Room[Connection],
        authorization: Authorization,
        journal: JournalState,
        limits: ConnectionLimits,
    ) -> None:
        """:param authorization: on what the connection rests."""
        self.channel = channel
        # What the room asks for most often, without a step in between.
        self.offer = channel.offer
        self.room = room
        self.user_id = authorization.session.user_id
        self.credential: Credential = authorization.credential
        self.access: Access = authorization.access
        self._journal = journal
        self._limits = limits
        # About how many bytes of edits were taken since reading was held for them last.
        self._unsaved = 0
        self._has_announced = False
        self._has_left = False
        # When it was logged last that messages are dropped.
        self._logged = float("-inf")

    @property
    def may_write(self) -> bool:
        """Whether the client's edits count."""
        return self.access >= Access.WRITE

    def join(self) -> None:
        """Be part of the room from now on, and hear who else is."""
        self.room.join(self)
        self._send_all(self.room.introduce(self))

    def ask(self) -> Steps[None]:
        """Ask the client for what it has and the server has not."""
        state_vector = yield from self.room.document.encode_state_vector()
        self._send(sync.encode_step_1(state_vector))

    def catch_up(self) -> Steps[None]:
        """The client reads again: send what it has missed."""
        self._send_all((yield from self.room.catch_up(self)))

    def keep_alive(self, silence: float) -> None:
        """Send something that says nothing, unless everybody was sent something in the last `silence` seconds.

        A client that hears nothing for half a minute closes the connection.  WebSocket's own pings do not count for
        it, and one that shows nothing of itself may hear nothing for hours.
        """
        if self.room.silence > silence:
            self.offer(PreparedMessage(sync.encode_awareness(awareness_format.EMPTY_AWARENESS)))

    def leave(self) -> None:
        """The client has gone."""
        self._has_left = True
        self.room.leave(self)

    def reset(self) -> None:
        """The document was made anew without some of what was in it, which the client has: end the connection."""
        reason = "the document was reset, load it afresh"
        self.channel.close(Denied(409, CloseCode.DOCUMENT_RESET, reason, reason, self.user_id))

    def receive(self, message: sync.Message) -> Steps[Effect]:
        """Take a message of the client, in steps.

        :raises Offence: if that ends the connection.
        """
        try:
            if isinstance(message, sync.Update):
                if not self.may_write:
                    return Effect.REFUSED
                update = yield from self._read(message.update)
                effect = yield from self._edit(update)
                if effect is Effect.KEPT:
                    self.channel.kept(update)
                return effect
            if isinstance(message, sync.SyncStep2):
                return (yield from self._take_step_2(message.update))
            if isinstance(message, sync.AwarenessUpdate):
                yield from self._show(message.payload)
            elif isinstance(message, sync.SyncStep1):
                yield from self._answer_step_1(message.state_vector)
            else:
                self._send_all(self.room.everybody(self))
        except TooLarge as error:
            raise ProtocolViolation(CloseCode.TOO_LARGE, f"too large: {error}") from error
        except Malformed as error:
            raise ProtocolViolation(CloseCode.MALFORMED, f"malformed message: {error}") from error
        return Effect.NONE

    def relay(self, message: PreparedMessage) -> bool:
        """Have the others sent a stateless message; returns False if it is dropped, as too many wait."""
        return self.room.relay(self, message)

    def send_stateless(self, message: PreparedMessage) -> None:
        """Pass a stateless message on."""
        self.channel.send_stateless(message)

    def _read(self, data: bytes) -> Steps[Update]:
        return read_update(data, self._limits.max_document_size, reject_poison=True)

    def _edit(self, update: Update) -> Steps[Effect]:
        limit = self._limits.max_document_size
        encoded = update.encoded
        is_small = encoded is not None and len(encoded) < SMALL
        added = len(encoded) if encoded is not None and is_small else (yield from update.compute_weight())
        if self._has_left:
            return Effect.NONE
        if not self.may_write:
            # The role has changed while the update was looked at.
            return Effect.REFUSED
        if self.room.document.weight + added > (limit if update.runs else limit * (1 + ROOM_FOR_DELETIONS)):
            raise ProtocolViolation(CloseCode.TOO_LARGE, f"the document is full: it may have {limit} bytes")
        if self._journal.full:
            raise ProtocolViolation(CloseCode.TRY_AGAIN_LATER, "the database cannot keep up, try again later")
        yield from self.room.edit(self, update)
        self._unsaved += added
        if self._unsaved > self._limits.max_unsaved:
            self._unsaved = 0
            self.channel.pause_reading_until(lambda act: self._journal.after_commit(self.room.name, act))
        return Effect.KEPT

    def _take_step_2(self, data: bytes) -> Steps[Effect]:
        if not self.may_write and not self.channel.acknowledges:
            return Effect.REFUSED
        update = yield from self._read(data)
        # A client that only reconnects brings nothing new, and that should cost nobody anything.
        if not (yield from self.room.document.lacks_any_of_in_steps(update)):
            return Effect.KEPT
        return (yield from self._edit(update))

    def _answer_step_1(self, state_vector: bytes) -> Steps[None]:
        if state_vector == EMPTY_STATE_VECTOR:
            self._send_all((yield from self.room.whole()))
        else:
            self._send(sync.encode_step_2((yield from self.room.document.encode_diff_in_steps(state_vector))))

    def _show(self, payload: bytes) -> Steps[None]:
        """Take an awareness update, a part at a time.

        What is over a limit is dropped and the connection stays: it may have edits to send, and would come back and
        show the same again.
        """
        room = self.room
        if room.is_echo(self, payload):
            return
        if len(payload) > self._limits.max_awareness_size:
            if not room.awareness.is_old(payload):
                self._dropped(f"an awareness message may have {self._limits.max_awareness_size} bytes")
            return
        reader = awareness_format.Reader(payload)
        most, refused = room.awareness.most_entries(), 0
        while reader.remaining and reader.count - reader.remaining < most:
            entries = reader.read(STATES_PER_STEP, self._is_of_another)
            # A client that opens its connection announces itself, alone.
            is_opening = reader.count == 1 and not self._has_announced
            self._has_announced = self._has_announced or any(not entry.has_left for entry in entries)
            for entry in entries:
                if len(entry.state) > LONG:
                    yield from check_long_json(entry.state)
            if self._has_left:
                return
            outcome = room.show(self, entries, is_opening)
            if outcome.corrections:
                self._send_all(room.correct(self, outcome.corrections))
            room.announce(outcome.news)
            refused += outcome.refused
            yield
        if refused or reader.remaining:
            self._dropped("one connection announces too many awareness clients")

    def _is_of_another(self, client_id: int, clock: int) -> bool:
        return self.room.awareness.is_of_another(client_id, self.user_id)

    def _dropped(self, reason: str) -> None:
        if self.may_be_logged():
            client = self.channel.client
            self.log.info("awareness dropped", reason=reason, room=self.room.name, user=self.user_id, client=client)

    def may_be_logged(self) -> bool:
        """Whether it is time to log again that a message of this client is dropped."""
        now = self.room.now
        if now - self._logged < LOG_AGAIN_AFTER:
            return False
        self._logged = now
        return True

    def _send_all(self, messages: list[PreparedMessage]) -> None:
        for message in messages:
            self.channel.send(message)

    def _send(self, payload: bytes) -> None:
        self.channel.send(PreparedMessage(payload))
