"""The y-protocols messages of one document: sync, awareness, auth, query awareness.

The formats are those of the npm package ``y-protocols`` 1.0 and of the y-websocket clients.  A message is a type, then

========================  =====================================================================
type                      body
========================  =====================================================================
0 sync                    0 and the sender's state vector (step 1), 1 and an update (step 2), or
                          2 and an update
1 awareness               an awareness update, see :mod:`canvas_collab.protocol.awareness`
2 auth                    0 and the reason: permission denied (from the server only)
3 query awareness         nothing
102 heartbeat             an encoded counter, which y-sweet's clients expect back
========================  =====================================================================
"""

from __future__ import annotations

import enum
from typing import TypeAlias

from attrs import frozen

from canvas_collab.protocol.lib0 import Decoder, Malformed, encode_var_bytes

#: The counter of a heartbeat is one integer of lib0's.
MAX_COUNTER_SIZE = 8


class MessageType(enum.IntEnum):
    """What the first integer of a message says."""

    SYNC = 0
    AWARENESS = 1
    AUTH = 2
    QUERY_AWARENESS = 3
    HEARTBEAT = 102


class SyncType(enum.IntEnum):
    """What the second integer of a sync message says."""

    STEP_1 = 0
    STEP_2 = 1
    UPDATE = 2


@frozen
class SyncStep1:
    """Someone has `state_vector` and asks for what lies beyond it."""

    state_vector: bytes


@frozen
class SyncStep2:
    """The answer to a step 1: everything the asker lacks, as one update."""

    update: bytes


@frozen
class Update:
    """An edit, as it happens."""

    update: bytes


@frozen
class AwarenessUpdate:
    """States of some clients, still encoded (:func:`canvas_collab.protocol.awareness.decode`)."""

    payload: bytes


@frozen
class QueryAwareness:
    """Someone asks for everybody's state."""


@frozen
class Heartbeat:
    """y-sweet's: the client wants `counter` back when the server has everything that was sent before it."""

    counter: bytes


@frozen
class Unknown:
    """A message of a type that means nothing here: clients of other servers have some, and can do without an answer."""

    kind: int


Message: TypeAlias = SyncStep1 | SyncStep2 | Update | AwarenessUpdate | QueryAwareness


def decode(data: bytes) -> Message | Heartbeat | Unknown:
    """Decode one message of a client.

    Bytes that follow a complete message are ignored, as y-protocols ignores them.

    :raises Malformed: if it is none.
    """
    decoder = Decoder(data)
    kind = decoder.var_uint()
    if kind == MessageType.HEARTBEAT:
        return _decode_heartbeat(decoder)
    return decode_body(kind, decoder)


def decode_body(kind: int, decoder: Decoder) -> Message | Unknown:
    """Decode what follows the message type `kind`, if that is one that all protocols have.

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
    """Decode what follows the type of a sync message.

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


def _decode_heartbeat(decoder: Decoder) -> Heartbeat | Unknown:
    try:
        counter = decoder.var_bytes()
    except Malformed:
        counter = b""
    is_one = 0 < len(counter) <= MAX_COUNTER_SIZE
    return Heartbeat(counter) if is_one else Unknown(MessageType.HEARTBEAT)


def encode_step_1(state_vector: bytes) -> bytes:
    """Ask for everything beyond `state_vector`."""
    return b"\x00\x00" + encode_var_bytes(state_vector)


def encode_step_2(update: bytes) -> bytes:
    """Answer a step 1 with `update`."""
    return b"\x00\x01" + encode_var_bytes(update)


def encode_update(update: bytes) -> bytes:
    """Pass an edit on."""
    return b"\x00\x02" + encode_var_bytes(update)


def encode_heartbeat(counter: bytes) -> bytes:
    """Say a heartbeat's counter back."""
    return bytes((MessageType.HEARTBEAT,)) + encode_var_bytes(counter)


def encode_awareness(payload: bytes) -> bytes:
    """Wrap an encoded awareness update."""
    return b"\x01" + encode_var_bytes(payload)
