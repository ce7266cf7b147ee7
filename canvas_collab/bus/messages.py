"""The messages on the bus, and their authentication.

A message is a version byte, an HMAC-SHA256, and the body that this authenticates together with the channel: the
sender's id, the number of the message, its kind, and its fields.  Integers and byte arrays are encoded as in lib0.  The
numbers of one sender's messages on one channel increase by one, so that receivers notice what they have missed, and
ignore what somebody sends again.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection
from typing import ClassVar

from attrs import frozen

from canvas_collab.protocol.lib0 import Decoder, Malformed, encode_var_bytes, encode_var_string, encode_var_uint

#: The version of the format.  Messages of other versions are ignored.
VERSION = 1

#: The size of a sender's id and that of the HMAC, in bytes.
ORIGIN_SIZE = 16
MAC_SIZE = 32

#: The channel for messages that are not about one room.
CONTROL = ""


class ForeignMessage(Exception):
    """A message that was sent by another version, or by somebody without the secret; the text says which."""


@frozen
class Edit:
    """An update that the sender has taken in, and is going to commit; `user_id` is its author."""

    kind: ClassVar = 1
    user_id: str
    update: bytes

    def encode(self) -> bytes:
        """Return the fields."""
        return encode_var_string(self.user_id) + encode_var_bytes(self.update)

    @staticmethod
    def decode(decoder: Decoder) -> Edit:
        """Read the fields."""
        return Edit(decoder.var_string(), decoder.var_bytes())


@frozen
class Committed:
    """The sender's edits of this room with numbers up to `number` are committed."""

    kind: ClassVar = 2
    number: int

    def encode(self) -> bytes:
        """Return the fields."""
        return encode_var_uint(self.number)

    @staticmethod
    def decode(decoder: Decoder) -> Committed:
        """Read the fields."""
        return Committed(decoder.var_uint())


@frozen
class AwarenessStates:
    """States of awareness clients that are connected to the sender: awareness updates, each with its user's id."""

    kind: ClassVar = 3
    states: tuple[tuple[str, bytes], ...]

    def encode(self) -> bytes:
        """Return the fields."""
        return _encode_pairs(self.states)

    @staticmethod
    def decode(decoder: Decoder) -> AwarenessStates:
        """Read the fields."""
        return AwarenessStates(_decode_pairs(decoder))


@frozen
class Stateless:
    """A stateless message for all connections of the room, encoded as for the clients."""

    kind: ClassVar = 4
    payload: bytes

    def encode(self) -> bytes:
        """Return the fields."""
        return encode_var_bytes(self.payload)

    @staticmethod
    def decode(decoder: Decoder) -> Stateless:
        """Read the fields."""
        return Stateless(decoder.var_bytes())


@frozen
class Query:
    """Asks all others that have the room in memory for an :class:`Answer`."""

    kind: ClassVar = 5

    def encode(self) -> bytes:
        """Return the fields."""
        return b""

    @staticmethod
    def decode(decoder: Decoder) -> Query:
        """Read the fields."""
        return Query()


@frozen
class Answer:
    """What the sender of a query may lack.

    :ivar to: the id of the daemon that has asked.
    :ivar edits: the edits that are not committed yet: their numbers, and what :class:`Edit` has.
    :ivar states: as in :class:`AwarenessStates`.
    """

    kind: ClassVar = 6
    to: bytes
    edits: tuple[tuple[int, Edit], ...]
    states: tuple[tuple[str, bytes], ...]

    def encode(self) -> bytes:
        """Return the fields."""
        edits = b"".join(encode_var_uint(number) + edit.encode() for number, edit in self.edits)
        return self.to + encode_var_uint(len(self.edits)) + edits + _encode_pairs(self.states)

    @staticmethod
    def decode(decoder: Decoder) -> Answer:
        """Read the fields."""
        to = decoder.take(ORIGIN_SIZE)
        edits = tuple((decoder.var_uint(), Edit.decode(decoder)) for _ in range(decoder.var_uint()))
        return Answer(to, edits, _decode_pairs(decoder))


@frozen
class Heartbeat:
    """The sender is running.  `is_first` asks the others to answer with theirs at once."""

    kind: ClassVar = 7
    is_first: bool = False

    def encode(self) -> bytes:
        """Return the fields."""
        return encode_var_uint(self.is_first)

    @staticmethod
    def decode(decoder: Decoder) -> Heartbeat:
        """Read the fields."""
        return Heartbeat(bool(decoder.var_uint()))


@frozen
class Goodbye:
    """The sender is about to stop, and has committed everything."""

    kind: ClassVar = 8

    def encode(self) -> bytes:
        """Return the fields."""
        return b""

    @staticmethod
    def decode(decoder: Decoder) -> Goodbye:
        """Read the fields."""
        return Goodbye()


@frozen
class Kick:
    """Close the connections of a user, in a room, or both; the other one is empty."""

    kind: ClassVar = 9
    user_id: str
    room: str

    def encode(self) -> bytes:
        """Return the fields."""
        return encode_var_string(self.user_id) + encode_var_string(self.room)

    @staticmethod
    def decode(decoder: Decoder) -> Kick:
        """Read the fields."""
        return Kick(decoder.var_string(), decoder.var_string())


Message = Edit | Committed | AwarenessStates | Stateless | Query | Answer | Heartbeat | Goodbye | Kick

_DECODERS: dict[int, Callable[[Decoder], Message]] = {
    kind.kind: kind.decode
    for kind in (Edit, Committed, AwarenessStates, Stateless, Query, Answer, Heartbeat, Goodbye, Kick)
}


@frozen
class Envelope:
    """A message, with its sender's id and its number among those that the sender has sent on the channel."""

    origin: bytes
    number: int
    message: Message


class Codec:
    """Encodes, authenticates and decodes the messages of the daemons that share a secret."""

    def __init__(self, secret: str) -> None:
        """:param secret: from which the key is derived."""
        self._key = hmac.digest(secret.encode(), b"canvas-collab bus", "sha256")

    def channel(self, prefix: str, room: str) -> str:
        """Return the name of a room's channel on the bus, or of that of :data:`CONTROL`.

        It does not contain the room's name, which who can reach the bus has no need to know.
        """
        return f"{prefix}:{hmac.digest(self._key, room.encode(), 'sha256')[:16].hex()}"

    def encode(self, channel: str, envelope: Envelope) -> bytes:
        """Encode a message for a channel."""
        message = envelope.message
        body = b"".join(
            (envelope.origin, encode_var_uint(envelope.number), encode_var_uint(message.kind), message.encode())
        )
        return bytes([VERSION]) + self._mac(channel, body) + body

    def decode(self, channel: str, data: bytes) -> Envelope:
        """Decode a message that arrived on a channel.

        :raises ForeignMessage: if it is none of this version and of a sender with the same secret.
        """
        if data[:1] != bytes([VERSION]):
            raise ForeignMessage("another version of Canvas Collab, or another program, uses the same channel")
        body = data[1 + MAC_SIZE :]
        if not hmac.compare_digest(data[1 : 1 + MAC_SIZE], self._mac(channel, body)):
            raise ForeignMessage("it was not sent by a daemon with the same BETTER_AUTH_SECRET")
        try:
            decoder = Decoder(body)
            origin, number, kind = decoder.take(ORIGIN_SIZE), decoder.var_uint(), decoder.var_uint()
            if kind not in _DECODERS:
                raise ForeignMessage("a later version of Canvas Collab uses the same channel")
            message = _DECODERS[kind](decoder)
            decoder.finish()
        except Malformed as error:
            raise ForeignMessage(f"it is malformed: {error}") from error
        return Envelope(origin, number, message)

    def _mac(self, channel: str, body: bytes) -> bytes:
        return hmac.digest(self._key, channel.encode() + b"\0" + body, "sha256")


def _encode_pairs(pairs: Collection[tuple[str, bytes]]) -> bytes:
    encoded = b"".join(encode_var_string(text) + encode_var_bytes(data) for text, data in pairs)
    return encode_var_uint(len(pairs)) + encoded


def _decode_pairs(decoder: Decoder) -> tuple[tuple[str, bytes], ...]:
    return tuple((decoder.var_string(), decoder.var_bytes()) for _ in range(decoder.var_uint()))
