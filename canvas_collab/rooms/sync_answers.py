"""Answering the sync steps 1 of one connection: with one message if it is small, otherwise as a download."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from canvas_collab.document.parts import RANGE_SIZE, Parts
from canvas_collab.protocol import sync
from canvas_collab.protocol.state_vector import EMPTY_STATE_VECTOR, read_state_vector
from canvas_collab.protocol.steps import Steps
from canvas_collab.protocol.update import encode_update_in_steps
from canvas_collab.rooms.channel import Channel
from canvas_collab.rooms.download import PARTS_AT_ONCE, Download, OwnParts, PartSource, size_of
from canvas_collab.rooms.prepared_message import PreparedMessage
from canvas_collab.rooms.room import Room


class AnsweredConnection(Protocol):
    """What :class:`SyncAnswers` needs of its connection."""

    #: Sends the messages of the room.
    offer: Callable[[PreparedMessage], bool]


class SyncAnswers:
    """Answers the sync steps 1 of one connection."""

    # It does not refer to the connection, unless there is a download: garbage collection is rare, and until then the
    # cycle would keep the document in memory.
    __slots__ = ("_channel", "_download", "_room", "holds_updates")

    def __init__(self, room: Room[Any], channel: Channel) -> None:
        self._room = room
        self._channel = channel
        self._download: Download | None = None
        #: Whether updates of others are held back, until the end of a download.
        self.holds_updates = False

    @property
    def is_downloading(self) -> bool:
        """Whether an answer is being sent in parts."""
        return self._download is not None

    def answer(self, connection: AnsweredConnection, state_vector: bytes) -> Steps[None]:
        """Answer a sync step 1, in steps; the messages of a download are sent later.

        :raises Malformed: if the bytes are not a state vector.
        """
        room, channel = self._room, self._channel
        document, limit = room.document, PARTS_AT_ONCE * room.part_size
        has_nothing = state_vector == EMPTY_STATE_VECTOR
        size = document.deletions.range_count * RANGE_SIZE
        if has_nothing and self._download is None and document.size + size <= limit:
            for message in (yield from room.full_sync.messages()):
                channel.send(message)
            return
        clocks = yield from read_state_vector(state_vector, document.as_update().runs)
        if self._download is not None and self._download.add_answer(clocks):
            return
        if has_nothing:
            source: PartSource = yield from room.full_sync.parts()
            size += document.size
        else:
            missing = yield from document.missing(clocks)
            size += yield from size_of(missing)
            if size <= limit and self._download is None:
                update = yield from encode_update_in_steps(missing, document.deletions)
                channel.send(PreparedMessage(sync.encode_step_2(update)))
                return
            source = OwnParts(Parts(missing, clocks, document.deletions, room.part_size))
        live = partial(self._go_live, connection)
        self._start(connection, Download(room, source, clocks, size, live, self._ended))

    def when_answered(self, act: Callable[[], Steps[None]]) -> Steps[None]:
        """Run steps after the answer to the last sync step 1."""
        if self._download is None:
            yield from act()
        else:
            self._download.when_answered(act)

    def cancel(self) -> None:
        """Send no more of a download, as the client has left."""
        if self._download is not None:
            self._download.is_cancelled = True
            self._download = None

    def _start(self, connection: AnsweredConnection, download: Download) -> None:
        """Start a download, which also answers the sync steps 1 that the last one has not."""
        if self._download is not None:
            self._download.is_cancelled = True
            download.answers = [*self._download.answers, *download.answers]
        self._download = download
        self.holds_updates = True
        connection.offer = self._offer_awareness
        self._channel.send_paced(download)

    def _offer_awareness(self, message: PreparedMessage) -> bool:
        """Send awareness, and hold an update back: the rest of the download has it."""
        return sync.is_sync(message.payload) or self._channel.offer(message)

    def _go_live(self, connection: AnsweredConnection) -> None:
        self.holds_updates = False
        connection.offer = self._channel.offer

    def _ended(self) -> None:
        self._download = None
        self._channel.download_ended()
