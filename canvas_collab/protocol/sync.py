"""The messages of y-protocols: sync, awareness, auth, query awareness; and y-sweet's heartbeat.

The formats are those of the npm package ``y-protocols`` 1.0 and of the y-websocket clients.  A message is a type and a
body:

========================  =====================================================================
type                      body
========================  =====================================================================
0 sync                    0 and the sender's state vector (step 1), 1 and an update (step 2), or
                          2 and an update
1 awareness               an awareness update, see :mod:`canvas_collab.protocol.awareness`
2 auth                    0 and the reason: permission denied (from the server only)
3 query awareness         nothing
102 heartbeat             an encoded counter, which y-sweet clients expect back
========================  =====================================================================
"""

from __future__ import annotations

import enum
from typing import TypeAlias

from attrs import frozen

from canvas_collab.protocol.lib0 import Decoder, Malformed, encode_var_bytes

#: The largest counter of a heartbeat in bytes: one variable-length integer of lib0.
MAX_COUNTER_SIZE = 8

#: The largest integer that lib0 encodes in one byte.
_LARGEST_IN_ONE_BYTE = 0x7F

#: Two types, a size, and the two bytes of an empty update.
_SHORTEST_UPDATE_MESSAGE = 5


class MessageType(enum.IntEnum):
    """The first integer of a message."""

    SYNC = 0
    AWARENESS = 1
    AUTH = 2
    QUERY_AWARENESS = 3
    HEARTBEAT = 102


class SyncType(enum.IntEnum):
    """The second integer of a sync message."""

    STEP_1 = 0
    STEP_2 = 1
    UPDATE = 2


# The same as plain integers, which are compared faster.
_SYNC = int(MessageType.SYNC)
_UPDATE = int(SyncType.UPDATE)


@frozen
class SyncStep1:
    """Requests everything that a client with this state vector lacks."""

    state_vector: bytes


@frozen
class SyncStep2:
    """Answers a sync step 1 with everything that the sender of it lacks, as one update."""

    update: bytes


@frozen
class Update:
    """An update, sent as soon as the edit was made."""

    update: bytes


@frozen
class AwarenessUpdate:
    """An awareness update, still encoded; see :func:`canvas_collab.protocol.awareness.decode`."""

    payload: bytes


@frozen
class QueryAwareness:
    """Requests the awareness states of all clients."""


@frozen
class Heartbeat:
    """A message of y-sweet: the client expects `counter` back once everything sent before it is saved."""

    counter: bytes


@frozen
class Unknown:
    """A message of a type that this server ignores; clients of other servers send some, and need no answer."""

    kind: int


Message: TypeAlias = SyncStep1 | SyncStep2 | Update | AwarenessUpdate | QueryAwareness


def decode(data: bytes) -> Message | Heartbeat | Unknown:
    """Decode one message of a client.

    Bytes after a complete message are ignored, as y-protocols ignores them.

    :raises Malformed: if the bytes are not a message.
    """
    decoder = Decoder(data)
    kind = decoder.var_uint()
    if kind == MessageType.HEARTBEAT:
        return _decode_heartbeat(decoder)
    return decode_body(kind, decoder)


def decode_body(kind: int, decoder: Decoder) -> Message | Unknown:
    """Decode the body of a message of a type that y-websocket and Hocuspocus have in common.

    :raises Malformed: as :func:`decode` does.
    """
    if kind == MessageType.SYNC:
        return decode_sync(decoder)
    if kind == MessageType.AWARENESS:
        return AwarenessUpdate(decoder.var_bytes())
    if kind == MessageType.QUERY_AWARENESS:
        return QueryAwareness()
    return Unknown(kind)


def decode_sync(decoder: Decoder) -> SyncStep1 | SyncStep2 | Update:
    """Decode the body of a sync message.

    :raises Malformed: as :func:`decode` does.
    """
    step = decoder.var_uint()
    body = decoder.var_bytes()
    if step == SyncType.UPDATE:
        return Update(body)
    if step == SyncType.STEP_2:
        return SyncStep2(body)
    if step == SyncType.STEP_1:
        return SyncStep1(body)
    raise Malformed(f"there is no sync message {step}")


def read_update_message(data: bytes, position: int) -> bytes | None:
    """Return the update of the update message at `position`, if the message is one of less than 16 KiB.

    For the most frequent message, without the objects that :func:`decode` makes.  Returns None if it is another
    message, or malformed.
    """
    end = len(data)
    if end - position < _SHORTEST_UPDATE_MESSAGE or data[position] != _SYNC or data[position + 1] != _UPDATE:
        return None
    size = data[position + 2]
    start = position + 3
    if size > _LARGEST_IN_ONE_BYTE:
        more = data[start]
        if more > _LARGEST_IN_ONE_BYTE:
            return None
        size = size & _LARGEST_IN_ONE_BYTE | more << 7
        start += 1
    stop = start + size
    return data[start:stop] if stop <= end else None


def _decode_heartbeat(decoder: Decoder) -> Heartbeat | Unknown:
    try:
        counter = decoder.var_bytes()
    except Malformed:
        counter = b""
    is_valid = 0 < len(counter) <= MAX_COUNTER_SIZE
    return Heartbeat(counter) if is_valid else Unknown(MessageType.HEARTBEAT)


def encode_step_1(state_vector: bytes) -> bytes:
    """Encode a sync step 1."""
    return b"\x00\x00" + encode_var_bytes(state_vector)


def encode_step_2(update: bytes) -> bytes:
    """Encode a sync step 2."""
    return b"\x00\x01" + encode_var_bytes(update)


def encode_update(update: bytes) -> bytes:
    """Encode an update message."""
    return b"\x00\x02" + encode_var_bytes(update)


def encode_heartbeat(counter: bytes) -> bytes:
    """Encode the answer to a heartbeat."""
    return bytes((MessageType.HEARTBEAT,)) + encode_var_bytes(counter)


def encode_awareness(payload: bytes) -> bytes:
    """Encode an awareness message with an encoded awareness update."""
    return b"\x01" + encode_var_bytes(payload)
