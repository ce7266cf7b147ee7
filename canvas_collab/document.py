"""The lossless state of one Yjs document: encoded updates, merged but never integrated.

A document is a list of *chunks*, each an encoded update, and a *tail* of updates that are fresh.  When the tail has
grown it is sealed to a chunk, and neighbouring chunks of similar size are merged, so that there are few of them,
each several times larger than the next, and every byte is merged a logarithmic number of times.

Beside the bytes, a document keeps what it *knows*: its state vector, and what lies outside that (deletions, and
structs after a gap).  This stays small, and answers the questions of the live path without touching the chunks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen

from canvas_collab import engine
from canvas_collab.protocol.lib0 import Malformed, encode_var_uint
from canvas_collab.protocol.state_vector import EMPTY_STATE_VECTOR, decode_state_vector

#: The tail is sealed when it holds this many updates.
TAIL_LENGTH = 128

#: A chunk is merged with the one before it unless that is at least this many times larger.
SIZE_RATIO = 4


@frozen
class Knowledge:
    """What a set of updates amounts to, without their content.

    `state_vector` says, for every client, up to which clock everything is there.  `rest` is an update that holds
    all deletions, and the structs that lie beyond a gap.
    """

    state_vector: bytes = EMPTY_STATE_VECTOR
    rest: bytes = engine.EMPTY_UPDATE

    def including(self, updates: Iterable[bytes]) -> Knowledge:
        """What is known once `updates` have come too.

        :raises Malformed: if one of them is no update.
        """
        merged = engine.merge(_placeholder(self.state_vector), self.rest, *updates)
        state_vector = engine.state_vector(merged)
        return Knowledge(state_vector, engine.beyond(merged, state_vector))

    def adds(self, update: bytes) -> bool:
        """Whether `update` holds a struct or a deletion that is not known yet.

        :raises Malformed: if it is no update.
        """
        news = engine.beyond(update, self.state_vector)
        # Merging with the empty update puts both sides of the comparison into the canonical form.
        known = engine.merge(self.rest, engine.EMPTY_UPDATE)
        return engine.merge(known, news) != known


class Document:
    """Everything that is known of one document.  Updates go in and are never lost; differences come out."""

    __slots__ = ("_chunks", "_first_chunk_knowledge", "_fresh", "_knowledge", "_size", "_tail")

    def __init__(self, updates: Iterable[bytes] = ()) -> None:
        """Start from stored `updates`, the first usually a snapshot.

        :raises Malformed: if one of them is no update.
        """
        stored = list(updates)
        self._chunks: list[bytes] = [engine.merge(*stored)] if stored else []
        self._tail: list[bytes] = []
        self._fresh: list[bytes] = []
        self._knowledge = Knowledge().including(self._chunks)
        self._first_chunk_knowledge = self._knowledge
        self._size = sum(map(len, self._chunks))

    @property
    def size(self) -> int:
        """How many bytes the document takes in memory, roughly."""
        return self._size

    @property
    def knowledge(self) -> Knowledge:
        """What is known now."""
        if self._fresh:
            self._knowledge = self._knowledge.including(self._fresh)
            self._fresh = []
        return self._knowledge

    @property
    def state_vector(self) -> bytes:
        """The document's state vector, encoded."""
        return self.knowledge.state_vector

    def append(self, update: bytes) -> bytes:
        """Take an update in, and return it in its canonical form, which is what others should see and keep.

        :raises Malformed: if it is no update; the document is as before then.
        """
        canonical = engine.merge(update)
        if canonical != engine.EMPTY_UPDATE:
            self._tail.append(canonical)
            self._fresh.append(canonical)
            self._size += len(canonical)
            if len(self._tail) >= TAIL_LENGTH:
                self._seal()
        return canonical

    def adds(self, update: bytes) -> bool:
        """Whether `update` would bring anything new.

        :raises Malformed: if it is no update.
        """
        return self.knowledge.adds(update)

    def lacking(self, state_vector: bytes) -> list[bytes]:
        """The updates that someone with `state_vector` lacks, in the order in which they should be sent.

        A state vector says nothing of deletions, so all of them are always among the answer.

        :raises Malformed: if the bytes are not a state vector.
        """
        theirs = decode_state_vector(state_vector)
        if not any(theirs.values()):
            return self._everything()
        if _covers(theirs, decode_state_vector(self.state_vector)):
            return [self.knowledge.rest]
        parts: list[bytes] = []
        later: Sequence[bytes] = self._chunks
        if self._chunks and _covers(theirs, decode_state_vector(self._first_chunk_knowledge.state_vector)):
            parts.append(self._first_chunk_knowledge.rest)
            later = self._chunks[1:]
        parts.extend(engine.beyond(chunk, state_vector) for chunk in later)
        parts.extend(engine.beyond(update, state_vector) for update in self._tail)
        return [engine.merge(*parts)]

    def whole(self) -> bytes:
        """The whole document as one update.  This costs a merge of everything."""
        return engine.merge(*self._chunks, *self._tail)

    def _everything(self) -> list[bytes]:
        """The largest chunk as it is, then all that came after it as one: nothing large is encoded again."""
        if not self._chunks:
            return [engine.merge(*self._tail)]
        later = [*self._chunks[1:], *self._tail]
        return [self._chunks[0], engine.merge(*later)] if later else [self._chunks[0]]

    def _seal(self) -> None:
        """Make a chunk of the tail, and merge it with those before it that are not much larger."""
        chunk, self._tail = engine.merge(*self._tail), []
        similar: list[bytes] = [chunk]
        size = len(chunk)
        while self._chunks and len(self._chunks[-1]) < SIZE_RATIO * size:
            similar.insert(0, self._chunks.pop())
            size += len(similar[0])
        if not self._chunks:
            self._first_chunk_knowledge = self._first_chunk_knowledge.including(similar)
        self._chunks.append(engine.merge(*similar) if len(similar) > 1 else chunk)
        self._size = sum(map(len, self._chunks))


def _covers(theirs: dict[int, int], ours: dict[int, int]) -> bool:
    """Whether someone at `theirs` has every struct below `ours`."""
    return all(theirs.get(client, 0) >= clock for client, clock in ours.items())


def _placeholder(state_vector: bytes) -> bytes:
    """An update with the same state vector and no content: one garbage-collected struct per client.

    In the update format (version 1) that is: one struct, the client, clock 0, info byte 0 (GC), the length.
    """
    clocks = {client: clock for client, clock in decode_state_vector(state_vector).items() if clock}
    parts = [encode_var_uint(len(clocks))]
    for client in sorted(clocks, reverse=True):
        parts += [b"\x01", encode_var_uint(client), b"\x00\x00", encode_var_uint(clocks[client])]
    parts.append(b"\x00")
    return b"".join(parts)


__all__ = ["Document", "Knowledge", "Malformed"]
