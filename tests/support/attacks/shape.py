"""What a shape of attack is, and how it gets onto a socket."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence

from attrs import frozen

from canvas_collab.protocol import sync
from canvas_collab.protocol.lib0 import encode_var_string
from tests.support.attacks.encoding import frame

#: What a message has around an update or the like at most: types, lengths, and a room's name.
ENVELOPE = 64

Maker = Callable[[int], Sequence[bytes]]


class Container(enum.Enum):
    """What the bytes of a shape are."""

    UPDATE = enum.auto()
    STEP_2 = enum.auto()
    STEP_1 = enum.auto()
    AWARENESS = enum.auto()
    #: Whole messages, of whichever protocol it is.
    MESSAGE = enum.auto()
    #: What goes onto the socket.
    FRAMES = enum.auto()


class WireProtocol(enum.Enum):
    """Which protocol is spoken, and whether the document has been opened."""

    Y_WEBSOCKET = "y-websocket"
    HOCUSPOCUS = "hocuspocus"
    #: Hocuspocus, and nobody has said who they are.
    UNAUTHENTICATED = "hocuspocus, nothing opened"


_WRAP: dict[Container, Callable[[bytes], bytes]] = {
    Container.UPDATE: sync.encode_update,
    Container.STEP_2: sync.encode_step_2,
    Container.STEP_1: sync.encode_step_1,
    Container.AWARENESS: sync.encode_awareness,
}


@frozen
class Shape:
    """One kind of attack.

    :ivar make: makes it, of at most so many bytes.
    :ivar before: makes the updates that the document holds by then.
    :ivar largest: it is not made larger than this.
    :ivar refused: whether a part of it is malformed to whoever takes it apart, however large it is.
    """

    name: str
    title: str
    container: Container
    make: Maker
    before: Maker | None = None
    protocol: WireProtocol = WireProtocol.Y_WEBSOCKET
    largest: int = 2**62
    refused: bool = False

    def parts(self, size: int) -> Sequence[bytes]:
        """Its updates, state vectors and so on, each small enough for a message of that size."""
        return self.make(min(size, self.largest) - ENVELOPE)

    def stored(self, size: int) -> Sequence[bytes]:
        """The updates that the document holds before."""
        return self.before(min(size, self.largest) - ENVELOPE) if self.before else ()

    def wire(self, size: int, room: str) -> bytes:
        """What an attacker sends."""
        parts = self.parts(size)
        if self.container is Container.FRAMES:
            return b"".join(parts)
        if self.container is Container.MESSAGE:
            return b"".join(map(frame, parts))
        prefix = b"" if self.protocol is WireProtocol.Y_WEBSOCKET else encode_var_string(room)
        wrap = _WRAP[self.container]
        return b"".join(frame(prefix + wrap(part)) for part in parts)
