"""Writing updates and frames of megabytes quickly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from canvas_collab.protocol.lib0 import encode_var_uint

#: The variable-length integer of lib0.
var = encode_var_uint

#: Numbers from here up to 2**28 have four bytes, so that what is made of them has a size that is known before.
FOUR_BYTES = 2**21

#: The author of most structs.
AUTHOR = FOUR_BYTES + 11

BINARY, TEXT, CONTINUATION, CLOSE, PING, PONG = 0x82, 0x81, 0x80, 0x88, 0x89, 0x8A
_FINAL = 0x80

NO_DELETIONS = b"\0"

GC, SKIP = b"\x00", b"\x0a"
#: What an item begins with that is in the text "t" of the document, up to its content; by kind of content.
_IN_TEXT = b"\x01\x01t"

_LOW = [bytes((number & 0x7F | 0x80, number >> 7 | 0x80)) for number in range(2**14)]
_HIGH = [bytes((number & 0x7F | 0x80, number >> 7)) for number in range(2**14)]


def wide(number: int) -> bytes:
    """A number from :data:`FOUR_BYTES` on as an integer of four bytes."""
    return _LOW[number & 0x3FFF] + _HIGH[number >> 14]


def letters(number: int) -> bytes:
    """Four letters, others for each number."""
    return bytes((97 + number % 26, 97 + number // 26 % 26, 97 + number // 676 % 26, 97 + number // 17576 % 26))


def item(kind: int, content: bytes) -> bytes:
    """A struct of its own in the text "t"."""
    return bytes((kind,)) + _IN_TEXT + content


def string(text: bytes) -> bytes:
    """A string, or bytes, behind their length."""
    return var(len(text)) + text


def section(structs: bytes, count: int, author: int = AUTHOR, clock: int = 0) -> bytes:
    """The structs of one author."""
    return var(count) + var(author) + var(clock) + structs


def update(*sections: bytes, deletions: bytes = NO_DELETIONS) -> bytes:
    """An update of some authors."""
    return b"".join((var(len(sections)), *sections, deletions))


def deletions(ranges: Iterable[tuple[int, int]], count: int, author: int = AUTHOR) -> bytes:
    """The delete set of one author; ranges are a clock from :data:`FOUR_BYTES` on and a length below 128."""
    pairs = [wide(start) + bytes((length,)) for start, length in ranges]
    assert len(pairs) == count
    return b"\x01" + var(author) + var(count) + b"".join(pairs)


def frame(payload: bytes, opcode: int = BINARY, mask: bytes = bytes(4)) -> bytes:
    """A client's frame; a mask of zeros leaves the payload as it is."""
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
    """Take the frames of a server out of what was received from it, as their first bytes and their payloads."""
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
    """A message in as many frames as there are parts."""
    first, *middle, last = parts
    frames = [frame(first, opcode & ~_FINAL), *(frame(part, 0) for part in middle), frame(last, CONTINUATION)]
    return b"".join(frames)
