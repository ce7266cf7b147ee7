"""What attackers send without end: an iterator of frames for each of their connections."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping

from attrs import field, frozen

from canvas_collab.protocol import sync
from canvas_collab.protocol.lib0 import encode_var_string
from tests.support.attacks.deletions import descending
from tests.support.attacks.encoding import BINARY, FOUR_BYTES, PING, PONG, TEXT, frame, string, update, var, wide
from tests.support.attacks.framing import ROOM
from tests.support.attacks.queries import awareness_clients, awareness_state, state_vector
from tests.support.attacks.shape import WireProtocol
from tests.support.attacks.values import json_numbers

#: Frames are sent in pieces of about so many bytes.
PIECE = 2**16

_ADDRESS = encode_var_string(ROOM)
_AUTH, _QUERY, _STATELESS, _CLOSE = 2, 3, 5, 7


@frozen
class Attacker:
    """One connection of a flood: which of all it is, counted from 1 on, and its user's token."""

    number: int
    token: str = field(repr=False)


Pieces = Callable[[Attacker], Iterator[bytes]]


@frozen
class Flood:
    """One kind of flood.

    :ivar pieces: what a connection sends once it is open; for one that is never opened, from the beginning.
    :ivar role: who attacks; "nobody" has no session.
    :ivar reads: whether what the server says is read.
    :ivar upgrades: whether connections are WebSockets.
    :ivar ends: whether a connection ends when its pieces have been sent, and the next one comes.
    :ivar times: so many connections for each that is asked for.
    """

    name: str
    title: str
    pieces: Pieces
    role: str = "editor"
    protocol: WireProtocol = WireProtocol.Y_WEBSOCKET
    reads: bool = True
    upgrades: bool = True
    ends: bool = False
    times: int = 1


def _again(message: bytes, opcode: int = BINARY) -> Pieces:
    one = frame(message, opcode)
    piece = one * max(PIECE // len(one), 1)
    return lambda attacker: itertools.repeat(piece)


def _raw(data: bytes, head: bytes = b"") -> Pieces:
    piece = data * max(PIECE // len(data), 1)
    return lambda attacker: itertools.chain([head], itertools.repeat(piece))


def _once(*messages: bytes) -> Pieces:
    return lambda attacker: iter([b"".join(map(frame, messages))])


def _joined(frames: Iterator[bytes]) -> Iterator[bytes]:
    """Pieces from frames."""
    while True:
        piece, size = [], 0
        while size < PIECE:
            one = next(frames, None)
            if one is None:
                yield b"".join(piece)
                return
            piece.append(one)
            size += len(one)
        yield b"".join(piece)


def _edits(prefix: bytes = b"", text: bytes = b"x") -> Pieces:
    """Valid edits, each of its own."""

    def pieces(attacker: Attacker) -> Iterator[bytes]:
        author = wide(FOUR_BYTES + attacker.number)
        content = string(text)

        def frames() -> Iterator[bytes]:
            first = b"\x01\x01" + author + var(0) + b"\x04\x01\x01t" + content + b"\0"
            yield frame(prefix + sync.encode_update(first))
            for clock in itertools.count(len(text), len(text)):
                struct = b"\x84" + author + var(clock - 1) + content
                yield frame(prefix + sync.encode_update(b"\x01\x01" + author + var(clock) + struct + b"\0"))

        return _joined(frames())

    return pieces


def _awareness(entries: Callable[[int, int], bytes]) -> Pieces:
    """An awareness message for each number; `entries` takes the attacker's number and that."""
    return lambda attacker: _joined(
        frame(sync.encode_awareness(entries(attacker.number, number))) for number in itertools.count()
    )


def _newcomer(attacker: int, number: int) -> bytes:
    return b"\x01" + wide(FOUR_BYTES + attacker % 64 * 2**20 + number) + b"\x01\x02{}"


def _passer_by(attacker: int, number: int) -> bytes:
    client = wide(FOUR_BYTES + attacker % 64 * 2**20 + number // 2)
    return b"\x01" + client + (b"\x02\x04null" if number % 2 else b"\x01\x02{}")


def _moving(attacker: int, number: int) -> bytes:
    return b"\x01" + wide(FOUR_BYTES + attacker) + var(number + 1) + string(b'{"x":%d}' % number)


def _random_token() -> bytes:
    return bytes((_AUTH, 0)) + string(os.urandom(16).hex().encode()) + string(b"4.8.0")


def _tokens(attacker: Attacker) -> Iterator[bytes]:
    return _joined(frame(_ADDRESS + _random_token()) for _ in itertools.count())


def _own_token(attacker: Attacker) -> Iterator[bytes]:
    message = bytes((_AUTH, 0)) + string(attacker.token.encode()) + string(b"4.8.0")
    return itertools.repeat(frame(_ADDRESS + message) * 500)


def _tokens_of_many(attacker: Attacker) -> Iterator[bytes]:
    return _joined(
        frame(encode_var_string(f"diagram-{attacker.number}-{number}") + _random_token())
        for number in itertools.count()
    )


def _opened_and_closed(attacker: Attacker) -> Iterator[bytes]:
    message = bytes((_AUTH, 0)) + string(attacker.token.encode()) + string(b"4.8.0")
    close = bytes((_CLOSE,))
    return _joined(
        data
        for number in itertools.count()
        for address in [encode_var_string(f"{ROOM}\0{attacker.number}-{number % 1000}")]
        for data in (frame(address + message), frame(address + sync.encode_step_1(b"\0")), frame(address + close))
    )


def _sessions(attacker: Attacker) -> Iterator[bytes]:
    message = bytes((_AUTH, 0)) + string(attacker.token.encode()) + string(b"4.8.0")
    return _joined(
        frame(encode_var_string(f"{ROOM}\0{attacker.number}-{number}") + message) for number in itertools.count()
    )


def _slowly(attacker: Attacker) -> Iterator[bytes]:
    """A handshake, a byte at a time; the flood waits between pieces this small."""
    head = b"GET /diagram-attacked HTTP/1.1\r\nHost: daemon\r\n"
    yield head
    for number in itertools.count():
        yield b"X-%d: y\r\n" % number


def _handshake(token: str) -> bytes:
    return (
        f"GET /{ROOM}?token={token} HTTP/1.1\r\nHost: daemon\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


_QUESTION = sync.encode_step_1(b"\0")
_LARGE_QUESTION = sync.encode_step_1(state_vector(1_000_000)[0])
_SMALL_QUESTION = sync.encode_step_1(state_vector(50_000)[0])
_QUERY_MESSAGE = bytes((_QUERY,))
_EMPTY = sync.encode_update(update())
_TOO_LARGE = sync.encode_awareness(awareness_state(3_000_000, json_numbers)[0])
_WITHIN = sync.encode_awareness(awareness_clients(60_000)[0])
_FRAGMENT = frame(b"", 0)
_BEGINNING = frame(b"\0", BINARY & 0x7F)

_Y, _H, _S = WireProtocol.Y_WEBSOCKET, WireProtocol.HOCUSPOCUS, WireProtocol.UNAUTHENTICATED

FLOODS: Mapping[str, Flood] = {
    flood.name: flood
    for flood in (
        Flood("pings", "pings", _again(b"", PING)),
        Flood("pings-full", "pings of 125 bytes", _again(b"x" * 125, PING)),
        Flood("pings-unread", "pings of 125 bytes; pongs are not read", _again(b"x" * 125, PING), reads=False),
        Flood("pongs", "pongs", _again(b"", PONG)),
        Flood("steps-1", "empty state vectors", _again(_QUESTION)),
        Flood("steps-1-unread", "empty state vectors; answers are not read", _again(_QUESTION), reads=False),
        Flood("steps-1-small", "state vectors of 50 kB", _again(_SMALL_QUESTION)),
        Flood("steps-1-large", "state vectors of 1 MB", _again(_LARGE_QUESTION)),
        Flood("steps-1-viewer", "state vectors of 1 MB", _again(_LARGE_QUESTION), "viewer"),
        Flood("queries", "awareness queries", _again(_QUERY_MESSAGE)),
        Flood("queries-unread", "awareness queries; answers are not read", _again(_QUERY_MESSAGE), reads=False),
        Flood("updates-empty", "empty updates", _again(_EMPTY)),
        Flood("edits", "tiny edits", _edits()),
        Flood("edits-kilobyte", "edits of a kilobyte", _edits(text=b"x" * 1000)),
        Flood("edits-viewer", "tiny edits of a viewer", _edits(), "viewer"),
        Flood("deletions", "delete sets of 60 kB, last range first", _again(sync.encode_update(descending(60_000)[0]))),
        Flood("awareness-new", "awareness of new clients", _awareness(_newcomer), "viewer"),
        Flood("awareness-passing", "awareness of new clients that leave at once", _awareness(_passer_by), "viewer"),
        Flood("awareness-moving", "a cursor that moves", _awareness(_moving), "viewer"),
        Flood("awareness-many", "awareness of 7,000 clients at once", _again(_WITHIN), "viewer"),
        Flood("awareness-too-large", "awareness messages of 3 MB", _again(_TOO_LARGE), "viewer"),
        Flood("types-unknown", "messages of an unknown type", _again(b"\x63")),
        Flood("malformed", "messages that are none; the connection comes back", _again(b"\0\x02\x05")),
        Flood("texts", "text messages; the connection comes back", _again(b"x", TEXT)),
        Flood("fragments", "empty fragments", _raw(_FRAGMENT, _BEGINNING)),
        Flood("hocuspocus-pings", "Hocuspocus's pings", _again(b"\x09"), protocol=_H),
        Flood("hocuspocus-pings-unread", "the same; pongs are not read", _again(b"\x09"), protocol=_H, reads=False),
        Flood("hocuspocus-steps-1", "empty state vectors", _again(_ADDRESS + _QUESTION), protocol=_H),
        Flood("hocuspocus-queries", "awareness queries", _again(_ADDRESS + _QUERY_MESSAGE), protocol=_H),
        Flood("hocuspocus-updates-empty", "empty updates", _again(_ADDRESS + _EMPTY), protocol=_H),
        Flood("hocuspocus-edits", "tiny edits", _edits(_ADDRESS), protocol=_H),
        Flood("hocuspocus-edits-viewer", "tiny edits of a viewer", _edits(_ADDRESS), "viewer", _H),
        Flood("tokens", "random tokens for an open document", _tokens, protocol=_H),
        Flood("tokens-own", "the own token for an open document", _own_token, protocol=_H),
        Flood("opened", "a document is opened and left", _opened_and_closed, protocol=_H),
        Flood("sessions", "a document in ever more sessions", _sessions, protocol=_H),
        Flood(
            "stateless",
            "stateless messages of 1 kB",
            _again(_ADDRESS + bytes((_STATELESS,)) + string(b"x" * 1000)),
            protocol=_H,
        ),
        Flood(
            "stateless-large",
            "stateless messages of 1 MB",
            _again(_ADDRESS + bytes((_STATELESS,)) + string(b"x" * 10**6)),
            protocol=_H,
        ),
        Flood("hocuspocus-types-unknown", "messages of an unknown type", _again(_ADDRESS + b"\x63"), protocol=_H),
        Flood("stranger-pings", "pings", _again(b"", PING), "nobody", _S),
        Flood(
            "stranger-pings-unread", "pings; pongs are not read", _again(b"x" * 125, PING), "nobody", _S, reads=False
        ),
        Flood("stranger-hocuspocus-pings", "Hocuspocus's pings", _again(b"\x09"), "nobody", _S),
        Flood("stranger-fragments", "empty fragments", _raw(_FRAGMENT, _BEGINNING), "nobody", _S),
        Flood("stranger-tokens", "random tokens for one document", _tokens, "nobody", _S),
        Flood("stranger-documents", "random tokens for many documents", _tokens_of_many, "nobody", _S),
        Flood("stranger-waiting", "messages of a document that is not open", _again(_ADDRESS + _EMPTY), "nobody", _S),
        Flood("stranger-awareness", "awareness of it", _again(_ADDRESS + b"\x01\x01\0"), "nobody", _S),
        Flood("stranger-closings", "it is closed", _again(_ADDRESS + bytes((_CLOSE,))), "nobody", _S),
        Flood("stranger-types-unknown", "messages of an unknown type", _again(_ADDRESS + b"\x63"), "nobody", _S),
        Flood(
            "connections",
            "connections that say nothing",
            lambda attacker: iter(()),
            "nobody",
            upgrades=False,
            ends=True,
        ),
        Flood(
            "handshakes-denied",
            "handshakes with a random token",
            lambda attacker: iter([_handshake(os.urandom(16).hex())]),
            "nobody",
            upgrades=False,
            ends=True,
        ),
        Flood(
            "handshakes",
            "handshakes of a user, and the connection ends at once",
            lambda attacker: iter([_handshake(attacker.token)]),
            upgrades=False,
            ends=True,
        ),
        Flood(
            "handshakes-endless",
            "handshakes that do not end",
            _raw(b"X: y\r\n", b"GET / HTTP/1.1\r\n"),
            "nobody",
            upgrades=False,
        ),
        Flood("handshakes-slow", "handshakes that take for ever", _slowly, "nobody", upgrades=False, times=20),
        Flood("joining", "a user who opens the document and goes", _once(_QUESTION), ends=True),
    )
}
