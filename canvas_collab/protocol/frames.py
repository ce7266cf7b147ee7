"""A fast path for the most common WebSocket frames (RFC 6455, section 5.2).

These are unfragmented binary messages of less than 64 KiB, pings and pongs.  All other frames, and all protocol errors,
are left to the WebSocket library, which takes several times as long per frame.
"""

from __future__ import annotations

import struct

#: The first byte of an unfragmented binary message: FIN, opcode 2, no bits for extensions.
_WHOLE_BINARY = 0x82
#: The first bytes of a ping and of a pong.
_PING, _PONG = 0x89, 0x8A
_MASKED = 0x80
_MASK_SIZE = 4

#: Values of the length field: the length follows in two bytes, or in eight.
_TWO_BYTES, _EIGHT_BYTES = 126, 127

#: The shortest header of a frame that a client may send.
_MIN_HEADER = 2 + _MASK_SIZE


def encode_frame(payload: bytes) -> bytes:
    """Encode a binary message as one unmasked frame, as a server sends it."""
    size = len(payload)
    if size < _TWO_BYTES:
        return struct.pack("!BB", _WHOLE_BINARY, size) + payload
    if size < 2**16:
        return struct.pack("!BBH", _WHOLE_BINARY, _TWO_BYTES, size) + payload
    return struct.pack("!BBQ", _WHOLE_BINARY, _EIGHT_BYTES, size) + payload


def encode_pong(payload: bytes) -> bytes:
    """Encode the pong that answers a ping; `payload` must be shorter than 126 bytes."""
    return struct.pack("!BB", _PONG, len(payload)) + payload


def encode_ping(payload: bytes) -> bytes:
    """Encode a ping; `payload` must be shorter than 126 bytes."""
    return struct.pack("!BB", _PING, len(payload)) + payload


def read_heartbeat(data: bytes, position: int) -> tuple[bool, bytes, int] | None:
    """Read the client's frame at `position`, if it is a complete ping or pong.

    Returns whether it is a ping, its payload, and the position after the frame.  Returns None if it is another frame,
    or incomplete.
    """
    if len(data) - position < _MIN_HEADER or data[position] not in (_PING, _PONG):
        return None
    size = data[position + 1] - _MASKED
    start = position + _MIN_HEADER
    if not 0 <= size < _TWO_BYTES or start + size > len(data):
        return None
    return data[position] == _PING, _unmasked(data, start, size) if size else b"", start + size


def read_frame(data: bytes, position: int) -> tuple[bytes, int] | None:
    """Read the client's frame at `position`, if it is a complete binary message of less than 64 KiB.

    Returns the message and the position after the frame.  Returns None if it is another frame, or incomplete.
    """
    if len(data) - position < _MIN_HEADER or data[position] != _WHOLE_BINARY:
        return None
    size = data[position + 1] - _MASKED
    start = position + _MIN_HEADER
    if size == _TWO_BYTES:
        size = data[position + 2] << 8 | data[position + 3]
        start += 2
        if size < _TWO_BYTES:
            return None
    elif not 0 <= size < _TWO_BYTES:
        return None
    stop = start + size
    if stop > len(data):
        return None
    return _unmasked(data, start, size), stop


def _unmasked(data: bytes, start: int, size: int) -> bytes:
    """Return the payload of `size` bytes at `start`, unmasked with the four bytes before it."""
    # One exclusive-or of two large integers unmasks all bytes at once.
    mask = data[start - _MASK_SIZE : start] * (size // _MASK_SIZE + 1)
    number = int.from_bytes(data[start : start + size], "big") ^ int.from_bytes(mask[:size], "big")
    return number.to_bytes(size, "big")
