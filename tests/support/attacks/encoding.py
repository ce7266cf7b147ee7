"""Encoding updates and frames of megabytes quickly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from canvas_collab.protocol.lib0 import encode_var_uint

#: The variable-length integer of lib0.
var = encode_var_uint

#: The smallest number that is encoded in four bytes; they go up to 2**28, so that sizes are known in advance.
FOUR_BYTES = 2**21

#: The author (client id) of most structs.
AUTHOR = FOUR_BYTES + 11

BINARY, TEXT, CONTINUATION, CLOSE, PING, PONG = 0x82, 0x81, 0x80, 0x88, 0x89, 0x8A
_FINAL = 0x80

NO_DELETIONS = b"\0"

GC, SKIP = b"\x00", b"\x0a"
#: What follows the info byte of an item in the shared text "t", up to its content.
_IN_TEXT = b"\x01\x01t"

_LOW = [bytes((number & 0x7F | 0x80, number >> 7 | 0x80)) for number in range(2**14)]
_HIGH = [bytes((number & 0x7F | 0x80, number >> 7)) for number in range(2**14)]


def wide(number: int) -> bytes:
    """Encode a number from :data:`FOUR_BYTES` on in four bytes."""
    return _LOW[number & 0x3FFF] + _HIGH[number >> 14]


def letters(number: int) -> bytes:
    """Return four letters that differ for each number."""
    return bytes((97 + number % 26, 97 + number // 26 % 26, 97 + number // 676 % 26, 97 + number // 17576 % 26))


def item(kind: int, content: bytes) -> bytes:
    """Encode an item in the shared text "t", without neighbours."""
    return bytes((kind,)) + _IN_TEXT + content


def string(text: bytes) -> bytes:
    """Encode a string, or bytes, with its length."""
    return var(len(text)) + text


def section(structs: bytes, count: int, author: int = AUTHOR, clock: int = 0) -> bytes:
    """Encode the structs of one author."""
    return var(count) + var(author) + var(clock) + structs


def update(*sections: bytes, deletions: bytes = NO_DELETIONS) -> bytes:
    """Encode an update of sections and a delete set."""
    return b"".join((var(len(sections)), *sections, deletions))


def deletions(ranges: Iterable[tuple[int, int]], count: int, author: int = AUTHOR) -> bytes:
    """Encode a delete set of one author.

    :param ranges: each a clock from :data:`FOUR_BYTES` on, and a length below 128.
    :param count: how many ranges there are.
    """
    pairs = [wide(start) + bytes((length,)) for start, length in ranges]
    assert len(pairs) == count
    return b"\x01" + var(author) + var(count) + b"".join(pairs)


def frame(payload: bytes, opcode: int = BINARY, mask: bytes = bytes(4)) -> bytes:
    """Encode a client's frame.

    :param mask: zeros leave the payload as it is, which is quick.
    """
    size = len(payload)
    if size < 126:
        head = bytes((opcode, 0x80 | size))
    elif size < 2**16:
        head = bytes((opcode, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((opcode, 0xFF)) + size.to_bytes(8, "big")
    if any(mask):
        number = int.from_bytes(payload, "big") ^ int.from_bytes((mask * (size // 4 + 1))[:size], "big")
        payload = number.to_bytes(size, "big")
    return head + mask + payload


def take_frames(received: bytearray) -> Iterator[tuple[int, bytes]]:
    """Remove the complete frames of a server from what was received; yield the first byte and the payload of each."""
    position = 0
    while len(received) - position >= 2:
        opcode, size, start = received[position], received[position + 1], position + 2
        if size > 125:
            width = 2 if size == 126 else 8
            if len(received) < start + width:
                break
            size, start = int.from_bytes(received[start : start + width], "big"), start + width
        if start + size > len(received):
            break
        position = start + size
        yield opcode, bytes(received[start:position])
    del received[:position]


def fragments(parts: Sequence[bytes], opcode: int = BINARY) -> bytes:
    """Encode a message in as many frames as there are parts."""
    first, *middle, last = parts
    frames = [frame(first, opcode & ~_FINAL), *(frame(part, 0) for part in middle), frame(last, CONTINUATION)]
    return b"".join(frames)
