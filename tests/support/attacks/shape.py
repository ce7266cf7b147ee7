"""Shapes of attack: crafted messages of any size that are costly to handle, and how they are sent."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence

from attrs import frozen

from canvas_collab.protocol import sync
from canvas_collab.protocol.lib0 import encode_var_string
from tests.support.attacks.encoding import frame

#: How many bytes a message has at most around its update or state vector: types, lengths, and a room's name.
ENVELOPE = 64

#: Makes updates, state vectors and the like, of at most so many bytes each.
Maker = Callable[[int], Sequence[bytes]]


class Container(enum.Enum):
    """What the parts of a shape are, and so what they are sent in."""

    UPDATE = enum.auto()
    STEP_2 = enum.auto()
    STEP_1 = enum.auto()
    AWARENESS = enum.auto()
    #: Whole messages of the shape's protocol.
    MESSAGE = enum.auto()
    #: Bytes that are sent as they are.
    FRAMES = enum.auto()


class WireProtocol(enum.Enum):
    """The protocol of a connection, and whether it has opened the document."""

    Y_WEBSOCKET = "y-websocket"
    HOCUSPOCUS = "hocuspocus"
    #: Hocuspocus, without a token.
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

    :ivar make: makes its parts.
    :ivar before: makes updates that are in the document before.
    :ivar largest: the size beyond which it is not made, in bytes.
    :ivar refused: whether a part of it is malformed, whatever its size.
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
        """Return its parts, each small enough for a message of `size` bytes."""
        return self.make(min(size, self.largest) - ENVELOPE)

    def stored(self, size: int) -> Sequence[bytes]:
        """Return the updates that are in the document before."""
        return self.before(min(size, self.largest) - ENVELOPE) if self.before else ()

    def frames(self, size: int, room: str) -> bytes:
        """Return the bytes that are sent."""
        parts = self.parts(size)
        if self.container is Container.FRAMES:
            return b"".join(parts)
        if self.container is Container.MESSAGE:
            return b"".join(map(frame, parts))
        prefix = b"" if self.protocol is WireProtocol.Y_WEBSOCKET else encode_var_string(room)
        wrap = _WRAP[self.container]
        return b"".join(frame(prefix + wrap(part)) for part in parts)
