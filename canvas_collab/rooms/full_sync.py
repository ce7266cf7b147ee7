"""The full sync: the messages with a whole document, encoded once for all clients that join without any of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import define, frozen

from canvas_collab.document.document import Document
from canvas_collab.protocol import sync
from canvas_collab.protocol.steps import Steps
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


class FullSync:
    """The latest message with the whole of a document."""

    __slots__ = ("_cached", "_document", "_encoding", "_was_requested")

    def __init__(self, document: Document) -> None:
        self._document = document
        self._cached: _EncodedDocument | None = None
        self._encoding: _Encoding | None = None
        self._was_requested = False

    def messages(self) -> Steps[list[PreparedMessage]]:
        """Return the messages for a client that has nothing of the document, in steps.

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
            message = PreparedMessage(sync.encode_step_2((yield from document.diff({}))))
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
