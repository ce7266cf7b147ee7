"""The body of an awareness message: who is here, and what they show of themselves.

The format is that of ``awareness.js`` in the npm package ``y-protocols``: a count, then for every client its id, a
clock that grows with each change, and its state as JSON text; the text ``null`` says that the client has left.
"""

from __future__ import annotations

from collections.abc import Collection

from attrs import frozen

from canvas_collab.protocol.lib0 import Decoder, Malformed, encode_var_string, encode_var_uint
from canvas_collab.protocol.structs import MAX_CLOCK

#: The JSON text of a client that has left.
LEFT = "null"

#: What may surround it there.
JSON_WHITESPACE = " \t\n\r"


@frozen
class Entry:
    """One client's state at one clock; `state` is JSON text, kept as it came."""

    client_id: int
    clock: int
    state: str

    @property
    def has_left(self) -> bool:
        """Whether this entry says that the client has gone."""
        return self.state.strip(JSON_WHITESPACE) == LEFT


def decode(payload: bytes) -> list[Entry]:
    """Decode an awareness update.  Whether the states are JSON is not looked into.

    :raises Malformed: if the bytes are not an awareness update.
    """
    decoder = Decoder(payload)
    entries = [Entry(decoder.var_uint(), decoder.var_uint(), decoder.var_string()) for _ in range(decoder.var_uint())]
    # When the client leaves, that is said at the next clock.
    if any(entry.clock >= MAX_CLOCK for entry in entries):
        raise Malformed("a clock is too high")
    return entries


def encode(entries: Collection[Entry]) -> bytes:
    """Encode an awareness update."""
    parts = [encode_var_uint(len(entries))]
    for entry in entries:
        parts.append(encode_var_uint(entry.client_id))
        parts.append(encode_var_uint(entry.clock))
        parts.append(encode_var_string(entry.state))
    return b"".join(parts)
