"""The full sync: the messages with a whole document, encoded once for all clients that join without any of it.

To those with a slow line a large document is sent in parts; these are encoded once, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from attrs import define, frozen

from canvas_collab.document.document import Document
from canvas_collab.document.parts import Parts
from canvas_collab.protocol import sync
from canvas_collab.protocol.steps import Steps
from canvas_collab.protocol.structs import Run
from canvas_collab.protocol.update import encode_update_in_steps
from canvas_collab.rooms.prepared_message import PreparedMessage

#: A cached message is encoded anew when the document has changed.  If the document has more bytes than this, that is
#: done only when it has grown by this factor; what is new is sent as a second message.
SMALL = 64 * 2**10
STALE_GROWTH = 1.1


@frozen
class _EncodedDocument:
    """A message with a whole document, and the document's version, size in bytes and clocks when it was encoded."""

    message: PreparedMessage
    version: int
    size: int
    clocks: Mapping[int, int]


@define(eq=False)
class _Encoding:
    """An encoding in progress: its remaining steps, and the result once it is done."""

    steps: Iterator[None] = iter(())
    result: _EncodedDocument | None = None


class SharedRest:
    """The latest message with what clients with certain clocks lack of a document."""

    __slots__ = ("_cached", "_clocks", "_document", "_encoding", "_was_requested")

    def __init__(self, document: Document, clocks: Mapping[int, int]) -> None:
        """:param clocks: what all these clients have; empty if they have nothing."""
        self._document = document
        self._clocks = clocks
        self._cached: _EncodedDocument | None = None
        self._encoding: _Encoding | None = None
        self._was_requested = False

    def messages(self) -> Steps[list[PreparedMessage]]:
        """Return the messages for a client with these clocks, in steps.

        The first is a sync step 2, shared by many clients.  What was added to the document since that was encoded is in
        a second message.
        """
        document = self._document
        cached = self._cached
        self._was_requested = True
        if cached is None or self._is_stale(cached):
            cached = yield from self._encoded()
        if cached.version == document.version:
            return [cached.message]
        return [cached.message, PreparedMessage(sync.encode_update((yield from document.diff(cached.clocks))))]

    def _encoded(self) -> Steps[_EncodedDocument]:
        """Encode the document; clients that need it at the same time advance the same encoding in turn."""
        encoding = self._encoding
        if encoding is None:
            encoding = self._encoding = _Encoding()
            encoding.steps = self._encode(encoding)
        while encoding is self._encoding:
            next(encoding.steps, None)
            if encoding is self._encoding:
                yield
        if encoding.result is None:
            raise RuntimeError("encoding the document has failed for another client")
        return encoding.result

    def _encode(self, encoding: _Encoding) -> Steps[None]:
        document = self._document
        # Updates that are merged between the steps may be in the message or not, so it counts as the version before.
        version, size, clocks = document.version, document.size, document.clocks
        try:
            message = PreparedMessage(sync.encode_step_2((yield from document.diff(self._clocks))))
            encoding.result = self._cached = _EncodedDocument(message, version, size, clocks)
        finally:
            self._encoding = None

    def expire(self) -> None:
        """Discard the cached message, unless it was requested since the last call."""
        if not self._was_requested:
            self._cached = None
        self._was_requested = False

    def _is_stale(self, cached: _EncodedDocument) -> bool:
        has_changed = cached.version != self._document.version
        return has_changed and not SMALL < self._document.size <= cached.size * STALE_GROWTH


class SharedParts:
    """A document in parts, for the clients that have nothing of it; each part is encoded when the first needs it."""

    def __init__(self, document: Document, missing: Mapping[int, Sequence[Run]], size: int) -> None:
        """:param missing: the runs of the whole document.
        :param size: how many bytes a part may have.
        """
        self._document = document
        self._parts = Parts(missing, {}, document.deletions, size)
        self._encoded: list[bytes] = []
        self._encoding: Iterator[None] | None = None
        self._is_complete = False
        #: Whether encoding a part has failed, so that there will be no more.
        self.has_failed = False
        #: The size of the document when it was cut.
        self.size = document.size
        #: For clients that are sent the rest at once after the first part; None before there is a part.
        self.rest: SharedRest | None = None

    @property
    def clocks(self) -> Mapping[int, int]:
        """The state vector of a client that has all parts."""
        return self._parts.clocks

    def part(self, index: int) -> Steps[bytes | None]:
        """Return a part, as an encoded update, in steps; None if there are not as many."""
        while index >= len(self._encoded) and not self._is_complete:
            if self.has_failed:
                raise RuntimeError("cutting the document has failed for another client")
            if self._encoding is None:
                self._encoding = self._encode()
            next(self._encoding, None)
            yield
        return self._encoded[index] if index < len(self._encoded) else None

    def _encode(self) -> Steps[None]:
        """Encode the next part; clients that need it at the same time advance the same encoding in turn."""
        try:
            part = yield from self._parts.next()
            if part is None:
                self._is_complete = True
            else:
                if self.rest is None:
                    self.rest = SharedRest(self._document, dict(self._parts.clocks))
                self._encoded.append((yield from encode_update_in_steps(part.runs, part.deletions)))
        except Exception:
            self.has_failed = True
            raise
        finally:
            self._encoding = None


class FullSync(SharedRest):
    """What clients that have nothing of a document are sent."""

    __slots__ = ("_part_size", "_parts", "_were_parts_requested")

    def __init__(self, document: Document, part_size: int) -> None:
        super().__init__(document, {})
        self._part_size = part_size
        self._parts: SharedParts | None = None
        self._were_parts_requested = False

    def parts(self) -> Steps[SharedParts]:
        """Return the document in parts, in steps."""
        self._were_parts_requested = True
        parts = self._parts
        if parts is None or parts.has_failed or self._document.size > parts.size * STALE_GROWTH:
            missing = yield from self._document.missing({})
            parts = self._parts = SharedParts(self._document, missing, self._part_size)
        return parts

    def expire(self) -> None:
        """Discard what is cached, unless it was requested since the last call."""
        super().expire()
        if not self._were_parts_requested:
            self._parts = None
        elif self._parts is not None and self._parts.rest is not None:
            self._parts.rest.expire()
        self._were_parts_requested = False
