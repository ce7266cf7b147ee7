"""Shapes of WebSocket frames, and of messages of Hocuspocus's protocol."""

from __future__ import annotations

import os
from collections.abc import Sequence

from canvas_collab.protocol import sync
from canvas_collab.protocol.lib0 import encode_var_string
from tests.support.attacks.deletions import descending
from tests.support.attacks.encoding import BINARY, PING, PONG, TEXT, fragments, frame, string, update
from tests.support.attacks.shape import Container, Maker, Shape, WireProtocol
from tests.support.attacks.structs import collected
from tests.support.attacks.values import text

#: The room of the shapes that have to name one in their messages.
ROOM = "diagram-attacked"
_ADDRESS = encode_var_string(ROOM)

_SYNC, _AWARENESS, _AUTH, _QUERY, _REPLY, _STATELESS, _CLOSE = 0, 1, 2, 3, 4, 5, 7
_MASK = bytes.fromhex("a1b2c3d4")


def _many(message: bytes, opcode: int = BINARY) -> Maker:
    """Make shapes that repeat a small frame, up to a tenth of the size."""
    one = frame(message, opcode)
    return lambda size: [one * (size // 10 // len(one))]


def _fragmented(part: bytes) -> Maker:
    """Make shapes of one message in very many equal fragments."""
    one = frame(part, 0)
    head, tail = frame(b"\0", BINARY & 0x7F), frame(b"", 0x80)
    return lambda size: [head + one * (size // 10 // len(one)) + tail]


def _message(size: int) -> bytes:
    return sync.encode_update(text(size, b"x")[0])


def masked(size: int) -> list[bytes]:
    """A message with a mask, as browsers send."""
    return [frame(_message(size), mask=_MASK)]


def in_fragments(size: int) -> list[bytes]:
    """A large message in frames of a kilobyte."""
    message = _message(size)
    return [fragments([message[start : start + 1000] for start in range(0, len(message), 1000)])]


def in_text(size: int) -> list[bytes]:
    """A large text message."""
    return [frame(b"x" * size, TEXT)]


def too_large(size: int) -> list[bytes]:
    """A message of twice the size."""
    return [frame(_message(2 * size))]


def truncated(size: int) -> list[bytes]:
    """A frame without its last byte."""
    return [frame(_message(size))[:-1]]


def controls_within(size: int) -> list[bytes]:
    """A message in fragments, with pings between them."""
    message = _message(size // 10)
    parts = [message[start : start + 100] for start in range(0, len(message), 100)]
    ping = frame(b"x" * 125, PING)
    frames = [frame(parts[0], BINARY & 0x7F), *(ping + frame(part, 0) for part in parts[1:-1]), frame(parts[-1], 0x80)]
    return [b"".join(frames)]


def medium(size: int) -> list[bytes]:
    """Many messages of 60 kB, each a delete set with descending ranges."""
    message = frame(sync.encode_update(descending(60_000)[0]))
    return [message * max(1, size // len(message))]


# Hocuspocus


def _addressed(body: bytes) -> bytes:
    return _ADDRESS + body


def stateless(size: int) -> list[bytes]:
    """A large stateless message."""
    return [_addressed(bytes((_STATELESS,)) + string(b"x" * (size - 64)))]


def reply(size: int) -> list[bytes]:
    """A large sync reply."""
    return [_addressed(bytes((_REPLY,)) + sync.encode_step_2(collected(size - 64)[0])[1:])]


def long_address(size: int) -> list[bytes]:
    """An address of megabytes."""
    return [encode_var_string("x" * (size - 64)) + sync.encode_step_1(b"\0")]


def long_token(size: int) -> list[bytes]:
    """A token of megabytes."""
    return [_addressed(bytes((_AUTH, 0)) + string(b"x" * (size - 64)))]


def sessions(size: int) -> list[bytes]:
    """Very many sessions of one document."""
    count = min(size // 100, 5000)
    return [encode_var_string(f"{ROOM}\0{number}") + sync.encode_step_1(b"\0") for number in range(count)]


def documents(size: int) -> list[bytes]:
    """Very many documents, each with a random token."""
    count = min(size // 100, 5000)
    return [
        encode_var_string(f"diagram-{number}") + bytes((_AUTH, 0)) + string(os.urandom(16).hex().encode())
        for number in range(count)
    ]


def waiting(size: int) -> list[bytes]:
    """Very many empty updates of a document that is not open."""
    return [_addressed(sync.encode_update(update()))] * min(size // 100, 5000)


def waiting_large(size: int) -> list[bytes]:
    """Large messages of a document that is not open."""
    return [_addressed(sync.encode_update(descending(100_000)[0]))] * 10


def unknown(size: int) -> list[bytes]:
    """A large message of an unknown type."""
    return [b"\x63" + b"x" * (size - 1)]


def unknown_addressed(size: int) -> list[bytes]:
    """A large message of an unknown type with an address."""
    return [_addressed(b"\x63" + b"x" * (size - 64))]


def _closings(size: int) -> Sequence[bytes]:
    return [_addressed(bytes((_CLOSE,)))] * min(size // 100, 20_000)


def _frames(
    name: str, title: str, make: Maker, protocol: WireProtocol = WireProtocol.Y_WEBSOCKET, refused: bool = False
) -> Shape:
    return Shape(name, title, Container.FRAMES, make, protocol=protocol, refused=refused)


def _says(name: str, title: str, make: Maker, protocol: WireProtocol) -> Shape:
    return Shape(name, title, Container.MESSAGE, make, protocol=protocol)


SHAPES = (
    _frames("frame-masked", "a message with a mask", masked),
    _frames("frame-text", "a text message", in_text, refused=True),
    _frames("frame-too-large", "a message above the limit", too_large),
    _frames("frame-truncated", "a message whose last byte never comes", truncated, refused=True),
    _frames("frame-kilobytes", "a message in fragments of a kilobyte", in_fragments),
    _frames("frame-controls", "a message in fragments, with pings between them", controls_within),
    _frames("frame-medium", "messages of 60 kB, each hard to read", medium),
    _frames("fragments-empty", "a message of very many empty fragments", _fragmented(b""), refused=True),
    _frames("fragments-one-byte", "a message of very many fragments of one byte", _fragmented(b"\0"), refused=True),
    _frames("pings", "very many pings at once", _many(b"", PING)),
    _frames("pings-full", "very many pings of 125 bytes at once", _many(b"x" * 125, PING)),
    _frames("pongs", "very many pongs at once", _many(b"", PONG)),
    _frames("steps-1", "very many empty state vectors at once", _many(sync.encode_step_1(b"\0"))),
    _frames("queries", "very many awareness queries at once", _many(bytes((_QUERY,)))),
    _frames("updates-empty", "very many empty updates at once", _many(sync.encode_update(update()))),
    _frames("awareness-empty", "very many empty awareness messages at once", _many(sync.encode_awareness(b"\0"))),
    _frames("types-unknown", "very many messages of an unknown type at once", _many(b"\x63")),
    _says("type-unknown", "a large message of an unknown type", unknown, WireProtocol.Y_WEBSOCKET),
    _says("hocuspocus-type-unknown", "the same, in Hocuspocus's envelope", unknown_addressed, WireProtocol.HOCUSPOCUS),
    _says("stateless", "a large stateless message", stateless, WireProtocol.HOCUSPOCUS),
    _says("sync-reply", "millions of garbage-collected structs in a sync reply", reply, WireProtocol.HOCUSPOCUS),
    _says("closings", "a document is closed very many times", _closings, WireProtocol.HOCUSPOCUS),
    _says("sessions", "one document in thousands of sessions", sessions, WireProtocol.HOCUSPOCUS),
    _frames("hocuspocus-pings", "very many pings of Hocuspocus at once", _many(b"\x09"), WireProtocol.UNAUTHENTICATED),
    _frames("stranger-pings", "very many pings at once, from nobody", _many(b"", PING), WireProtocol.UNAUTHENTICATED),
    _frames(
        "stranger-fragments",
        "very many empty fragments, from nobody",
        _fragmented(b""),
        WireProtocol.UNAUTHENTICATED,
        True,
    ),
    _says("address", "an address of megabytes", long_address, WireProtocol.UNAUTHENTICATED),
    _says("token", "a token of megabytes", long_token, WireProtocol.UNAUTHENTICATED),
    _says("documents", "thousands of documents with random tokens", documents, WireProtocol.UNAUTHENTICATED),
    _says("waiting", "thousands of messages of a document that is not open", waiting, WireProtocol.UNAUTHENTICATED),
    _says(
        "waiting-large", "large messages of a document that is not open", waiting_large, WireProtocol.UNAUTHENTICATED
    ),
)
