"""What the connections of floods send: for each an iterator of pieces, which are bytes of one or more frames."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

from attrs import field, frozen

from canvas_collab.protocol import sync
from canvas_collab.protocol.lib0 import encode_var_string, encode_var_uint
from tests.support.attacks.encoding import BINARY, FOUR_BYTES, frame, string, wide
from tests.support.attacks.framing import ROOM

#: The approximate size of a piece, in bytes.
PIECE = 2**16

#: What Hocuspocus's messages start with: the name of the document.
ADDRESS = encode_var_string(ROOM)

#: Types of Hocuspocus's messages.
AUTH, QUERY, STATELESS, CLOSE = 2, 3, 5, 7


@frozen
class Attacker:
    """One connection of a flood.

    :ivar number: its number, from 1 on, among all connections that the flood has opened.
    :ivar token: the session token of its user.
    """

    number: int
    token: str = field(repr=False)


Pieces = Callable[[Attacker], Iterator[bytes]]


def repeated(message: bytes, opcode: int = BINARY) -> Pieces:
    """The same message, endlessly."""
    one = frame(message, opcode)
    piece = one * max(PIECE // len(one), 1)
    return lambda attacker: itertools.repeat(piece)


def repeated_bytes(data: bytes, head: bytes) -> Pieces:
    """Some bytes, then others endlessly."""
    piece = data * max(PIECE // len(data), 1)
    return lambda attacker: itertools.chain([head], itertools.repeat(piece))


def once(message: bytes) -> Pieces:
    """One message."""
    return lambda attacker: iter([frame(message)])


def _joined(frames: Iterator[bytes]) -> Iterator[bytes]:
    """Join frames to pieces."""
    while True:
        piece: list[bytes] = []
        size = 0
        while size < PIECE:
            one = next(frames, None)
            if one is None:
                yield b"".join(piece)
                return
            piece.append(one)
            size += len(one)
        yield b"".join(piece)


def edits(prefix: bytes = b"", text: bytes = b"x") -> Pieces:
    """Valid edits, each of which appends to a text."""

    def pieces(attacker: Attacker) -> Iterator[bytes]:
        author = wide(FOUR_BYTES + attacker.number)
        content = string(text)

        def frames() -> Iterator[bytes]:
            first = b"\x01\x01" + author + encode_var_uint(0) + b"\x04\x01\x01t" + content + b"\0"
            yield frame(prefix + sync.encode_update(first))
            for clock in itertools.count(len(text), len(text)):
                struct = b"\x84" + author + encode_var_uint(clock - 1) + content
                update = b"\x01\x01" + author + encode_var_uint(clock) + struct + b"\0"
                yield frame(prefix + sync.encode_update(update))

        return _joined(frames())

    return pieces


# Awareness


def awareness(payload: Callable[[int, int], bytes]) -> Pieces:
    """Awareness messages; `payload` makes each from the attacker's number and its own, from 0 on."""
    return lambda attacker: _joined(
        frame(sync.encode_awareness(payload(attacker.number, number))) for number in itertools.count()
    )


def new_client(attacker: int, number: int) -> bytes:
    """A client that is not in the room yet."""
    return b"\x01" + wide(FOUR_BYTES + attacker % 64 * 2**20 + number) + b"\x01\x02{}"


def passing_client(attacker: int, number: int) -> bytes:
    """A client that is not in the room yet, and in the message after that its leaving."""
    client = wide(FOUR_BYTES + attacker % 64 * 2**20 + number // 2)
    return b"\x01" + client + (b"\x02\x04null" if number % 2 else b"\x01\x02{}")


def moving_cursor(attacker: int, number: int) -> bytes:
    """The attacker's cursor, at another position each time."""
    return b"\x01" + wide(FOUR_BYTES + attacker) + encode_var_uint(number + 1) + string(b'{"x":%d}' % number)


# Hocuspocus's authentication


def _authentication(token: str) -> bytes:
    return bytes((AUTH, 0)) + string(token.encode()) + string(b"4.8.0")


def _random_authentication() -> bytes:
    return _authentication(os.urandom(16).hex())


def random_tokens(attacker: Attacker) -> Iterator[bytes]:
    """Authentication for one document, with random tokens."""
    return _joined(frame(ADDRESS + _random_authentication()) for _ in itertools.count())


def own_token(attacker: Attacker) -> Iterator[bytes]:
    """Authentication for one document, with the attacker's token."""
    return itertools.repeat(frame(ADDRESS + _authentication(attacker.token)) * 500)


def random_tokens_for_many(attacker: Attacker) -> Iterator[bytes]:
    """Authentication for many documents, with random tokens."""
    return _joined(
        frame(encode_var_string(f"diagram-{attacker.number}-{number}") + _random_authentication())
        for number in itertools.count()
    )


def opened_and_closed(attacker: Attacker) -> Iterator[bytes]:
    """The same document in a thousand sessions, each of which is opened, synced and closed."""
    message, close = _authentication(attacker.token), bytes((CLOSE,))
    return _joined(
        data
        for number in itertools.count()
        for address in [encode_var_string(f"{ROOM}\0{attacker.number}-{number % 1000}")]
        for data in (frame(address + message), frame(address + sync.encode_step_1(b"\0")), frame(address + close))
    )


def sessions(attacker: Attacker) -> Iterator[bytes]:
    """The same document in more and more sessions."""
    message = _authentication(attacker.token)
    return _joined(
        frame(encode_var_string(f"{ROOM}\0{attacker.number}-{number}") + message) for number in itertools.count()
    )


# Handshakes


def no_bytes(attacker: Attacker) -> Iterator[bytes]:
    """Nothing."""
    return iter(())


def slow_handshake(attacker: Attacker) -> Iterator[bytes]:
    """A handshake that does not end, one header at a time: floods wait between pieces that are this small."""
    yield b"GET /diagram-attacked HTTP/1.1\r\nHost: daemon\r\n"
    for number in itertools.count():
        yield b"X-%d: y\r\n" % number


def _handshake(token: str) -> bytes:
    return (
        f"GET /{ROOM}?token={token} HTTP/1.1\r\nHost: daemon\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def handshake(attacker: Attacker) -> Iterator[bytes]:
    """A handshake with the attacker's token."""
    return iter([_handshake(attacker.token)])


def denied_handshake(attacker: Attacker) -> Iterator[bytes]:
    """A handshake with a random token."""
    return iter([_handshake(os.urandom(16).hex())])
