"""The body of an awareness message: who is here, and what they show of themselves.

The format is that of ``awareness.js`` in the npm package ``y-protocols``: a count, then for every client its id, a
clock that grows with each change, and its state as JSON text; the text ``null`` says that the client has left.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from attrs import frozen

from canvas_collab.protocol.lib0 import Decoder, Malformed, encode_var_string, encode_var_uint
from canvas_collab.protocol.structs import MAX_CLOCK

#: The JSON text of a client that has left.
NULL_STATE = "null"

#: What may surround it there.
JSON_WHITESPACE = " \t\n\r"

#: An update of nobody.  Every client takes it in without an answer.
EMPTY_AWARENESS = b"\x00"


@frozen
class Entry:
    """One client's state at one clock; `state` is JSON text, kept as it came."""

    client_id: int
    clock: int
    state: str

    @property
    def has_left(self) -> bool:
        """Whether this entry says that the client has gone."""
        # Nearly all states are objects, and need not be copied to see that.
        return self.state[:1] != "{" and self.state.strip(JSON_WHITESPACE) == NULL_STATE


class Reader:
    """Reads an awareness update part by part, and only what is of interest."""

    __slots__ = ("_decoder", "count", "remaining")

    def __init__(self, payload: bytes) -> None:
        """:raises Malformed: if not even a count is there."""
        self._decoder = Decoder(payload)
        #: How many entries the update has.
        self.count = self._decoder.var_uint()
        #: How many of them have not been read yet.
        self.remaining = self.count

    def read(self, count: int, is_known: Callable[[int, int], bool]) -> list[Entry]:
        """Read the next `count` entries; returns those whose client id and clock are not known.

        Of the others the state is not looked at, and of none whether it is JSON.

        :raises Malformed: if the bytes are not an awareness update.
        """
        decoder = self._decoder
        entries = []
        for _ in range(min(count, self.remaining)):
            client_id, clock = decoder.var_uint(), decoder.var_uint()
            # When the client leaves, that is said at the next clock.
            if clock >= MAX_CLOCK:
                raise Malformed("a clock is too high")
            if is_known(client_id, clock):
                decoder.skip(decoder.var_uint())
            else:
                entries.append(Entry(client_id, clock, decoder.var_string()))
            self.remaining -= 1
        return entries


def decode(payload: bytes) -> list[Entry]:
    """Decode an awareness update.  Whether the states are JSON is not looked into.

    :raises Malformed: if the bytes are not an awareness update.
    """
    reader = Reader(payload)
    return reader.read(reader.count, lambda _client_id, _clock: False)


def encode(entries: Collection[Entry]) -> bytes:
    """Encode an awareness update."""
    return encode_var_uint(len(entries)) + b"".join(map(encode_entry, entries))


def encode_entry(entry: Entry) -> bytes:
    """Encode what an awareness update says of one client."""
    return encode_var_uint(entry.client_id) + encode_var_uint(entry.clock) + encode_var_string(entry.state)


def pack(entries: Iterable[bytes], size: int) -> list[bytes]:
    """Put encoded entries into awareness updates of at most `size` bytes; one that is larger has one of its own."""
    packed: list[bytes] = []
    together: list[bytes] = []
    # The count takes some, too.
    room = size - len(encode_var_uint(size))
    for entry in entries:
        room -= len(entry)
        if room < 0 and together:
            packed.append(encode_var_uint(len(together)) + b"".join(together))
            together = []
            room = size - len(encode_var_uint(size)) - len(entry)
        together.append(entry)
    if together:
        packed.append(encode_var_uint(len(together)) + b"".join(together))
    return packed
