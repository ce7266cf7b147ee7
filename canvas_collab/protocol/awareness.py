"""Awareness updates, the body of an awareness message.

The format is that of ``awareness.js`` in the npm package ``y-protocols``: a count, then for every client its id, a
clock that grows with each change, and its state as JSON text.  The state ``null`` means that the client has left.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final, final

from canvas_collab.protocol.lib0 import Decoder, Malformed, encode_var_string, encode_var_uint
from canvas_collab.protocol.structs import MAX_CLOCK

#: The state of a client that has left.
NULL_STATE: Final = "null"

#: The whitespace that JSON allows around a value.
JSON_WHITESPACE: Final = " \t\n\r"

#: An awareness update without entries.  Every client accepts it and does not answer.
EMPTY_AWARENESS: Final = b"\x00"


@final
class Entry:
    """One client's state at one clock; `state` is JSON text, exactly as it was received.  An entry never changes."""

    # There is one for every cursor movement: written out, this takes a fraction of the time that a class of attrs does.
    __slots__ = ("client_id", "clock", "state")

    def __init__(self, client_id: int, clock: int, state: str) -> None:
        self.client_id: Final[int] = client_id
        self.clock: Final[int] = clock
        self.state: Final[str] = state

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Entry):
            return NotImplemented
        return (self.client_id, self.clock, self.state) == (other.client_id, other.clock, other.state)

    def __hash__(self) -> int:
        return hash((self.client_id, self.clock, self.state))

    def __repr__(self) -> str:
        return f"Entry(client_id={self.client_id}, clock={self.clock}, state={self.state!r})"

    @property
    def has_left(self) -> bool:
        """Whether the state says that the client has left."""
        # Nearly all states are objects; the first character tells without a copy of the text.
        return self.state[:1] != "{" and self.state.strip(JSON_WHITESPACE) == NULL_STATE


@final
class Reader:
    """Decodes an awareness update a few entries at a time, without decoding states that are known already."""

    __slots__ = ("_decoder", "count", "remaining")

    def __init__(self, payload: bytes) -> None:
        """:raises Malformed: if `payload` does not begin with a count."""
        self._decoder = Decoder(payload)
        #: The number of entries in the update.
        self.count = self._decoder.var_uint()
        #: The number of entries that have not been read yet.
        self.remaining = self.count

    def read(self, count: int, is_known: Callable[[int, int], bool]) -> list[Entry]:
        """Read the next `count` entries, and return those that are not known.

        The states are not checked to be JSON.

        :param is_known: called with each entry's client id and clock; if it returns True, the state is skipped.
        :raises Malformed: if the bytes are not an awareness update.
        """
        decoder = self._decoder
        entries = []
        for _ in range(min(count, self.remaining)):
            client_id, clock = decoder.var_uint(), decoder.var_uint()
            # The clock after it must be valid too: the server announces that a client has left with clock + 1.
            if clock >= MAX_CLOCK:
                raise Malformed("a clock is too high")
            if is_known(client_id, clock):
                decoder.skip(decoder.var_uint())
            else:
                entries.append(Entry(client_id, clock, decoder.var_string()))
            self.remaining -= 1
        return entries


def decode(payload: bytes) -> list[Entry]:
    """Decode an awareness update.  The states are not checked to be JSON.

    :raises Malformed: if the bytes are not an awareness update.
    """
    reader = Reader(payload)
    return reader.read(reader.count, lambda _client_id, _clock: False)


def encode(entries: Collection[Entry]) -> bytes:
    """Encode an awareness update."""
    return encode_var_uint(len(entries)) + b"".join([encode_entry(entry) for entry in entries])


def encode_entry(entry: Entry) -> bytes:
    """Encode one entry of an awareness update."""
    return encode_var_uint(entry.client_id) + encode_var_uint(entry.clock) + encode_var_string(entry.state)


def pack(entries: Iterable[bytes], size: int) -> list[bytes]:
    """Pack encoded entries into awareness updates of at most `size` bytes; a larger entry gets an update of its own."""
    packed: list[bytes] = []
    batch: list[bytes] = []
    # The count takes some of the space, too.
    space = size - len(encode_var_uint(size))
    for entry in entries:
        space -= len(entry)
        if space < 0 and batch:
            packed.append(encode_var_uint(len(batch)) + b"".join(batch))
            batch = []
            space = size - len(encode_var_uint(size)) - len(entry)
        batch.append(entry)
    if batch:
        packed.append(encode_var_uint(len(batch)) + b"".join(batch))
    return packed
