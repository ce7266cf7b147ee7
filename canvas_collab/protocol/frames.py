"""The frames in which nearly all messages travel: binary, whole, small (RFC 6455, section 5.2); and pings and pongs.

All others, and everything that goes wrong with frames, is left to the WebSocket library.  It takes several times as
long over each.
"""

from __future__ import annotations

import struct

#: The last frame of a message, with bytes in it, and nothing that an extension would have to say.
_WHOLE_BINARY = 0x82
#: A ping, and the answer to it.
_PING, _PONG = 0x89, 0x8A
_MASKED = 0x80
_MASK_SIZE = 4

#: In place of a length: it follows, in two bytes or in eight.
_TWO_BYTES, _EIGHT_BYTES = 126, 127

#: No frame has a shorter header that a client may send.
_LEAST_HEADER = 2 + _MASK_SIZE


def encode_frame(payload: bytes) -> bytes:
    """A binary message as one frame of a server."""
    size = len(payload)
    if size < _TWO_BYTES:
        return struct.pack("!BB", _WHOLE_BINARY, size) + payload
    if size < 2**16:
        return struct.pack("!BBH", _WHOLE_BINARY, _TWO_BYTES, size) + payload
    return struct.pack("!BBQ", _WHOLE_BINARY, _EIGHT_BYTES, size) + payload


def encode_pong(payload: bytes) -> bytes:
    """The frame that answers a ping with that payload, of less than 126 bytes."""
    return struct.pack("!BB", _PONG, len(payload)) + payload


def read_heartbeat(data: bytes, position: int) -> tuple[bytes | None, int] | None:
    """Read a client's frame that begins at `position`, if it is a whole ping or pong.

    Returns the ping's payload, or None for a pong, and where the frame ends; None if it is another frame, or is not all
    there.
    """
    if len(data) - position < _LEAST_HEADER or data[position] not in (_PING, _PONG):
        return None
    size = data[position + 1] - _MASKED
    start = position + _LEAST_HEADER
    if not 0 <= size < _TWO_BYTES or start + size > len(data):
        return None
    return _unmasked(data, start, size) if data[position] == _PING else None, start + size


def read_frame(data: bytes, position: int) -> tuple[bytes, int] | None:
    """Read a client's frame that begins at `position`, if it is a whole binary message of less than 64 KiB.

    Returns the message and where the frame ends; None if it is another frame, or is not all there.
    """
    if len(data) - position < _LEAST_HEADER or data[position] != _WHOLE_BINARY:
        return None
    size = data[position + 1] - _MASKED
    start = position + _LEAST_HEADER
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
    """The payload of so many bytes that begins at `start`, without the mask that is in front of it."""
    # One exclusive-or of two large numbers takes the mask off all bytes at once.
    mask = data[start - _MASK_SIZE : start] * (size // _MASK_SIZE + 1)
    number = int.from_bytes(data[start : start + size], "big") ^ int.from_bytes(mask[:size], "big")
    return number.to_bytes(size, "big")
