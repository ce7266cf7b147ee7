"""One client's access to one room: what it may do, and how its messages are handled.

The protocol that carries the messages is behind :class:`~canvas_collab.rooms.channel.Channel`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, final

from twisted.logger import Logger

from canvas_collab.access.authentication import Credential
from canvas_collab.access.authorization import Authorization, Denied
from canvas_collab.access.roles import Access
from canvas_collab.config.connections import ConnectionLimits
from canvas_collab.protocol import awareness as awareness_format
from canvas_collab.protocol import sync
from canvas_collab.protocol.close_codes import CloseCode
from canvas_collab.protocol.json_text import check_long_json
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.steps import Steps
from canvas_collab.protocol.update import Update, read_small_update, read_update
from canvas_collab.rooms.awareness import LONG_STATE
from canvas_collab.rooms.channel import Channel
from canvas_collab.rooms.commits import JournalState
from canvas_collab.rooms.edits import EditResult, check_capacity, violation_of
from canvas_collab.rooms.prepared_message import PreparedMessage
from canvas_collab.rooms.room import Room
from canvas_collab.rooms.sync_answers import SyncAnswers

#: How many states of an awareness message are read in one step.
STATES_PER_STEP = 256

#: After a dropped message was logged, those of the same connection are not logged for this many seconds.
LOG_AGAIN_AFTER = 60.0

#: An update of fewer bytes counts by its encoded size, without working out what it takes in memory.
SMALL_UPDATE = 2**10


@final
class Connection:
    """A client in a room.

    Messages that are still being handled when the client leaves have no effect, as the room may be out of memory, and
    nobody would remove the client's awareness states.  Only an update that is already being merged is merged to its
    end.
    """

    log: ClassVar[Logger] = Logger(__name__)

    __slots__ = (
        "_drop_logged_at",
        "_has_sent_awareness",
        "_journal",
        "_limits",
        "_uncommitted_size",
        "access",
        "change_count",
        "channel",
        "credential",
        "has_left",
        "offer",
        "room",
        "sync_answers",
        "user_id",
    )

    def __init__(
        self,
        channel: Channel,
        room: Room[Connection],
        authorization: Authorization,
        journal: JournalState,
        limits: ConnectionLimits,
        change_count: int = 0,
    ) -> None:
        """:param authorization: what the connection's access is based on, until it is renewed.
        :param change_count: how many changes of access had been notified when the authorization began.
        """
        self.channel = channel
        # Called for every message to every connection, so it is the channel's method itself.
        self.offer: Callable[[PreparedMessage], bool] = channel.offer
        self.room = room
        #: Answers the client's sync steps 1.
        self.sync_answers = SyncAnswers(room, channel)
        self.user_id = authorization.session.user_id
        self.credential: Credential = authorization.credential
        self.access: Access = authorization.access
        self._journal, self._limits = journal, limits
        # About how many bytes of updates were accepted since reading was last paused for a commit.
        self._uncommitted_size = 0
        self._has_sent_awareness, self.change_count = False, change_count
        #: Whether the client has disconnected.
        self.has_left, self._drop_logged_at = False, float("-inf")

    @property
    def may_write(self) -> bool:
        """Whether the client may edit the document."""
        return self.access >= Access.WRITE

    def join(self) -> None:
        """Join the room, and send the client the awareness states of the others."""
        self.room.join(self)
        self._send_all(self.room.awareness_broadcaster.joining_messages(self))

    def send_sync_step_1(self) -> Steps[None]:
        """Send a sync step 1, which asks the client for what the server lacks."""
        self._send(sync.encode_step_1((yield from self.room.document.encode_state_vector())))

    def catch_up(self) -> Steps[None]:
        """Send what the client has missed under backpressure."""
        messages = yield from self.room.catch_up(self)
        # While updates are held back, what it has missed of the document comes with them.
        self._send_all(messages[1:] if self.sync_answers.holds_updates else messages)

    def keep_alive(self, interval: float) -> None:
        """Send an empty awareness update, unless all connections were sent one in the last `interval` seconds.

        Clients close a connection on which they receive no message for 30 seconds; WebSocket pings do not count.  A
        client without an awareness state of its own may receive nothing for hours.
        """
        if self.room.now - self.room.awareness_broadcaster.flushed_at > interval:
            self.offer(PreparedMessage(sync.encode_awareness(awareness_format.EMPTY_AWARENESS)))

    def leave(self) -> None:
        """Leave the room, as the client has disconnected."""
        self.has_left = True
        self.sync_answers.cancel()
        self.room.leave(self)

    def set_access(self, access: Access) -> None:
        """Change what the client may do from now on, and tell it where its protocol can."""
        if access is not self.access:
            self.log.info(
                "access changed",
                reason="another role",
                room=self.room.name,
                user=self.user_id,
                client=self.channel.client,
                code=None,
                access=access.name.lower(),
            )
            self.access = access
            self.channel.access_changed()

    def reset(self) -> None:
        """Close the connection, as the document was replaced by one without some of the content that the client has."""
        reason = "the document was reset, load it afresh"
        self.channel.close(Denied(409, CloseCode.DOCUMENT_RESET, reason, reason, self.user_id))

    def receive(self, message: sync.Message) -> Steps[EditResult]:
        """Handle a message of the client, in steps.

        :raises ProtocolViolation: if the connection has to be closed for it.
        """
        try:
            if isinstance(message, sync.Update):
                if not self.may_write:
                    return EditResult.REFUSED
                update = yield from read_update(message.update, self._limits.max_document_size, reject_poison=True)
                result = yield from self._edit(update)
                if result is EditResult.ACCEPTED:
                    self.channel.edit_accepted(update)
                return result
            if isinstance(message, sync.SyncStep2):
                return (yield from self._receive_sync_step_2(message.update))
            if isinstance(message, sync.AwarenessUpdate):
                yield from self._receive_awareness(message.payload)
            elif isinstance(message, sync.SyncStep1):
                yield from self.sync_answers.answer(self, message.state_vector)
            else:
                self._send_all(self.room.awareness_broadcaster.query_response(self))
        except Malformed as error:
            raise violation_of(error) from error
        return EditResult.NONE

    def receive_small_update(self, data: bytes) -> EditResult | None:
        """:meth:`receive` an update at once, if that takes little time; otherwise return None, with nothing done.

        :raises ProtocolViolation: if the connection has to be closed for it.
        """
        if len(data) >= SMALL_UPDATE:
            return None
        if self.access < Access.WRITE:
            return EditResult.REFUSED
        try:
            update = read_small_update(data, self._limits.max_document_size, True)
        except Malformed as error:
            raise violation_of(error) from error
        if update is None or update.encoded is None:
            return None
        size = len(update.encoded)
        check_capacity(self.room.document, self._journal, self._limits, update, size)
        if not self.room.edit_at_once(self, update):
            return None
        self._count_unsaved(size)
        self.channel.edit_accepted(update)
        return EditResult.ACCEPTED

    def broadcast_stateless(self, message: PreparedMessage) -> bool:
        """Send a stateless message to the other connections; return False if it is dropped, as too many are waiting."""
        return self.room.broadcast_stateless(self, message)

    def send_stateless(self, message: PreparedMessage) -> None:
        """Send a stateless message to the client."""
        self.channel.send_stateless(message)

    def _edit(self, update: Update) -> Steps[EditResult]:
        encoded = update.encoded
        is_small = encoded is not None and len(encoded) < SMALL_UPDATE
        added = len(encoded) if encoded is not None and is_small else (yield from update.compute_weight())
        if self.has_left:
            return EditResult.NONE
        if not self.may_write:
            # The role has changed between the steps.
            return EditResult.REFUSED
        check_capacity(self.room.document, self._journal, self._limits, update, added)
        yield from self.room.edit(self, update)
        self._count_unsaved(added)
        return EditResult.ACCEPTED

    def _count_unsaved(self, added: int) -> None:
        """Count bytes of accepted updates, and read nothing more until a commit if they are too many."""
        self._uncommitted_size += added
        if self._uncommitted_size > self._limits.max_unsaved:
            self._uncommitted_size = 0
            self.channel.pause_reading_until(self._after_commit)

    def _after_commit(self, act: Callable[[], None]) -> None:
        self._journal.after_commit(self.room.name, act)

    def _receive_sync_step_2(self, data: bytes) -> Steps[EditResult]:
        if not self.may_write and not self.channel.acknowledges:
            return EditResult.REFUSED
        update = yield from read_update(data, self._limits.max_document_size, reject_poison=True)
        # A client that has only reconnected sends nothing new: then nothing is merged, logged or sent.
        if not (yield from self.room.document.lacks_any_of_in_steps(update)):
            return EditResult.ACCEPTED
        return (yield from self._edit(update))

    def _receive_awareness(self, payload: bytes) -> Steps[None]:
        """Handle an awareness update, some entries in each step.

        Entries over a limit are dropped and the connection stays open: the client may have edits to send, and would
        send the same entries again after reconnecting.
        """
        room = self.room
        broadcaster = room.awareness_broadcaster
        if broadcaster.is_echo(self, payload):
            return
        room.counters.awareness_received += 1
        if len(payload) > self._limits.max_awareness_size:
            if not room.awareness.is_outdated(payload):
                self._log_dropped(f"an awareness message may have {self._limits.max_awareness_size} bytes")
            return
        reader = awareness_format.Reader(payload)
        max_entries, refused = room.awareness.max_entries(), 0
        while reader.remaining and reader.count - reader.remaining < max_entries:
            entries = reader.read(STATES_PER_STEP, self._belongs_to_another_user)
            # A client that has just connected sends its own state, alone.
            is_opening = reader.count == 1 and not self._has_sent_awareness
            self._has_sent_awareness = self._has_sent_awareness or any(not entry.has_left for entry in entries)
            for entry in entries:
                if len(entry.state) > LONG_STATE:
                    yield from check_long_json(entry.state)
            if self.has_left:
                return
            result = room.awareness.apply(entries, self, self.user_id, room.now, is_opening)
            if result.corrections:
                self._send_all(broadcaster.messages_with(self, result.corrections))
            room.awareness_changed(result.changes)
            refused += result.refused
            yield
        if refused or reader.remaining:
            self._log_dropped("one connection announces too many awareness clients")

    def _belongs_to_another_user(self, client_id: int, clock: int) -> bool:
        return self.room.awareness.belongs_to_another_user(client_id, self.user_id)

    def _log_dropped(self, reason: str) -> None:
        if self.should_log_drop():
            room, user, client = self.room.name, self.user_id, self.channel.client
            self.log.info("awareness dropped", reason=reason, room=room, user=user, client=client, code=None)

    def should_log_drop(self) -> bool:
        """Return whether to log a dropped message of this client, at most once in :data:`LOG_AGAIN_AFTER` seconds."""
        now = self.room.now
        if now - self._drop_logged_at < LOG_AGAIN_AFTER:
            return False
        self._drop_logged_at = now
        return True

    def _send_all(self, messages: list[PreparedMessage]) -> None:
        for message in messages:
            self.channel.send(message)

    def _send(self, payload: bytes) -> None:
        self.channel.send(PreparedMessage(payload))
