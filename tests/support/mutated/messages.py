"""Mutated messages of y-protocols and Hocuspocus, and mutated requests to the control socket."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

from canvas_collab.protocol.lib0 import encode_var_string, encode_var_uint
from tests.support.mutations import mutate

#: One of so many inputs is random bytes.
RANDOM_BYTES_EVERY = 20

#: Bytes that are no UTF-8: a byte of no text, a lone surrogate, overlong forms, a cut character, a code above the last;
#: and characters that are longer in UTF-16 or JSON than they look.
BAD_TEXT = (
    b"\xff",
    b"\xed\xa0\x80",
    b"\xc0\x80",
    b"\xe0\x80\xaf",
    b"\xf0\x9f\x98",
    b"\xf4\x90\x80\x80",
    b"\0",
    "\u2028".encode(),
    "😀".encode(),
    b"\\ud800",
)

_QUERY, _SYNC_REPLY, _STATELESS, _CLOSE = b"\x03", b"\x04", b"\x05", b"\x07"


def break_text(chance: random.Random, message: bytes) -> bytes:
    """Replace a byte with some that text cannot have, or seldom has."""
    at = chance.randrange(len(message) + 1)
    return message[:at] + chance.choice(BAD_TEXT) + message[at + chance.randint(0, 1) :]


def stretch(chance: random.Random, message: bytes) -> bytes:
    """Encode a byte, which may be an integer, in more bytes than it needs; sometimes in more than there may be."""
    at = chance.randrange(len(message))
    padding = b"\x80" * chance.choice((0, 1, 2, 7, 8, 9, 20))
    return message[:at] + bytes((message[at] | 0x80,)) + padding + b"\0" + message[at + 1 :]


def mutated(chance: random.Random, corpus: Sequence[bytes]) -> bytes:
    """Return a mutation of a message, or random bytes."""
    if chance.randrange(RANDOM_BYTES_EVERY) == 0:
        return chance.randbytes(chance.randint(0, 60))
    message = chance.choice(corpus)
    kind = chance.random()
    if kind < 0.1:
        return break_text(chance, message)
    if kind < 0.2 and message:
        return stretch(chance, message)
    return mutate(chance, message, corpus)


def addressed(room: str, token: str, messages: Sequence[bytes]) -> list[bytes]:
    """Return Hocuspocus's messages: those of y-protocols with an address, and those that only Hocuspocus has."""
    addresses = [encode_var_string(room), encode_var_string(f"{room}\0session")]
    bodies = [
        *messages,
        *(_SYNC_REPLY + message[1:] for message in messages[:: len(messages) // 50 + 1] if message[:1] == b"\0"),
        *(b"\x02\x00" + encode_var_string(token) + version for version in (b"", encode_var_string("4.8.0"))),
        *(_STATELESS + encode_var_string(text) for text in ("hello", '{"kind":"chat","text":"Zoë 😀"}', "")),
        *(b"\x08" + encode_var_uint(status) for status in (0, 1)),
        _QUERY,
        _CLOSE,
    ]
    return [address + body for address in addresses for body in bodies] + [b"\x09", b"\x0a"]


#: Requests to the control socket.  Those to close connections are for users and rooms that there are not.
CONTROL_REQUESTS = (
    b'{"request": "connections"}\n',
    b'{"request": "rooms"}\n',
    b'{"request": "kick", "user": "nobody-at-all"}\n',
    b'{"request": "kick", "room": "diagram-nowhere", "user": null}\n',
    b'{"request": "drain", "within": -1}\n',
    b'{"request": "drain", "within": "soon"}\n',
    '{"request": "kick", "user": "Zoë 😀 \\ud83d"}\n'.encode(),
    b'{"request": "rooms"}\r\n{"request": "connections"}\n',
    b"[" * 2000 + b"\n",
    b'{"request": ' * 300 + b"\n",
    b'{"request": "kick", "user": ' + b"9" * 3900 + b"}\n",
    b'{"request": "rooms", "x": "' + b"x" * 5000 + b'"}\n',
)


def control_request(chance: random.Random) -> bytes:
    """Return a mutated request to the control socket that does not stop the daemon."""
    while True:
        request = mutated(chance, CONTROL_REQUESTS)
        if chance.random() < 0.7:
            request = request.rstrip(b"\n") + b"\n"
        if not _drains(request.partition(b"\n")[0]):
            return request


def _drains(line: bytes) -> bool:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        return False
    if not isinstance(request, dict) or request.get("request") != "drain":
        return False
    return isinstance(request.get("within"), (int, float))
