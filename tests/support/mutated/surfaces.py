"""What of the daemon receives mutated inputs, and how the inputs are made."""

from __future__ import annotations

import enum
import random
from collections.abc import Iterator, Mapping, Sequence

from attrs import field, frozen

from canvas_collab.protocol.lib0 import encode_var_string
from tests.support.attacks.encoding import frame
from tests.support.mutated.frames import mutated_frames
from tests.support.mutated.http import mutated_handshake, mutated_health_request
from tests.support.mutated.messages import addressed, control_request, mutated


class Surface(enum.Enum):
    """A part of the daemon that receives inputs; the value is its name on the command line."""

    Y_WEBSOCKET = "y-websocket"
    HOCUSPOCUS = "hocuspocus"
    FRAMES = "frames"
    HANDSHAKES = "handshakes"
    HEALTH = "health"
    CONTROL = "control"


@frozen
class Target:
    """What is attacked, and as whom.

    :ivar room: the room that inputs are for.
    :ivar tokens: of the sessions that connections have, in turn.
    :ivar cookie: of one of the sessions, a Cookie header's value.
    :ivar control: the path of the control socket.
    """

    ws_port: int
    health_port: int
    control: str
    room: str
    tokens: Sequence[str] = field(repr=False)
    cookie: str = field(repr=False)


@frozen
class Wire:
    """How the inputs of a surface are sent.

    :ivar connections: how many at once.
    :ivar window: how many inputs a connection sends before the first of them is answered.
    :ivar opens: whether a connection opens a room first; otherwise there is one connection for each input.
    :ivar silence: how long no answer is waited for, in seconds, if the surface may not answer: the input is incomplete.
    """

    connections: int
    window: int = 1
    opens: bool = False
    silence: float = 0.2


#: How long a message, which is followed by a ping, may take, in seconds.
PATIENCE = 60.0

WIRES: Mapping[Surface, Wire] = {
    Surface.Y_WEBSOCKET: Wire(8, window=6, opens=True, silence=PATIENCE),
    Surface.HOCUSPOCUS: Wire(8, window=6, opens=True, silence=PATIENCE),
    Surface.FRAMES: Wire(24, window=3, opens=True),
    Surface.HANDSHAKES: Wire(40),
    Surface.HEALTH: Wire(40),
    # The daemon takes eight connections at once.
    Surface.CONTROL: Wire(6),
}


def inputs(surface: Surface, target: Target, corpus: Sequence[bytes], seed: str, count: int) -> Iterator[bytes]:
    """Yield the bytes of so many inputs; of a message, its frame.

    :param corpus: messages of real clients.
    """
    chance = random.Random(seed)
    if surface is Surface.HOCUSPOCUS:
        corpus = addressed(target.room, target.tokens[0], corpus)
    for _ in range(count):
        if surface in (Surface.Y_WEBSOCKET, Surface.HOCUSPOCUS):
            yield frame(mutated(chance, corpus))
        elif surface is Surface.FRAMES:
            yield mutated_frames(chance, corpus)
        elif surface is Surface.HANDSHAKES:
            yield mutated_handshake(chance, target.room, chance.choice(target.tokens), target.cookie)
        elif surface is Surface.HEALTH:
            yield mutated_health_request(chance)
        else:
            yield control_request(chance)


def opening(surface: Surface, target: Target, token: str) -> tuple[bytes, bytes]:
    """Return the bytes that open a connection before inputs are sent, and what the last answer to them contains."""
    path = "/" if surface is Surface.HOCUSPOCUS else f"/{target.room}?token={token}"
    handshake = (
        f"GET {path} HTTP/1.1\r\nHost: daemon\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()
    if surface is not Surface.HOCUSPOCUS:
        return handshake, b"\r\n\r\n"
    address = encode_var_string(target.room)
    authentication = frame(address + b"\x02\x00" + encode_var_string(token) + encode_var_string("4.8.0"))
    return handshake + authentication, address + b"\x02\x02"
