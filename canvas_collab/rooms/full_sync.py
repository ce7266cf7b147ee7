"""A document's whole content as a message, made once for the many who come with nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import define, frozen

from canvas_collab.document.document import Document
from canvas_collab.protocol import sync
from canvas_collab.protocol.steps import Steps
from canvas_collab.rooms.prepared_message import PreparedMessage

#: A message with a whole document is made anew when the document has changed; one with more bytes than this, when it
#: has grown by so much.
SMALL = 64 * 2**10
STALE_GROWTH = 1.1


@frozen
class _Whole:
    """The message, and what the document was when it was made."""

    message: PreparedMessage
    version: int
    size: int
    clocks: Mapping[int, int]


@define(eq=False)
class _Making:
    """One that is being made: the steps that are left, and then the result."""

    steps: Iterator[None] = iter(())
    whole: _Whole | None = None


class FullSync:
    """The latest such message of a document, and what has come in since."""

    __slots__ = ("_document", "_is_wanted", "_making", "_whole")

    def __init__(self, document: Document) -> None:
        self._document = document
        self._whole: _Whole | None = None
        self._making: _Making | None = None
        self._is_wanted = False

    def messages(self) -> Steps[list[PreparedMessage]]:
        """The messages that tell somebody everything who has nothing, in steps.

        The first, a step 2, is made once for many; what has come in since it was made is in a second.
        """
        document = self._document
        whole = self._whole
        self._is_wanted = True
        if whole is None or self._is_stale(whole):
            whole = yield from self._made()
        if whole.version == document.version:
            return [whole.message]
        return [whole.message, PreparedMessage(sync.encode_update((yield from document.diff(whole.clocks))))]

    def _made(self) -> Steps[_Whole]:
        """Have it made; those who want it at the same time take turns at the steps."""
        making = self._making
        if making is None:
            making = self._making = _Making()
            making.steps = self._make(making)
        while making is self._making:
            next(making.steps, None)
            if making is self._making:
                yield
        if making.whole is None:
            raise RuntimeError("the document could not be encoded for who wanted it first")
        return making.whole

    def _make(self, making: _Making) -> Steps[None]:
        document = self._document
        # What comes in between the steps may be in it or not, so it counts as no newer than it was before.
        version, size, clocks = document.version, document.size, document.clocks
        try:
            message = PreparedMessage(sync.encode_step_2((yield from document.diff({}))))
            making.whole = self._whole = _Whole(message, version, size, clocks)
        finally:
            self._making = None

    def expire(self) -> None:
        """Forget what nobody has asked for since the last time."""
        if not self._is_wanted:
            self._whole = None
        self._is_wanted = False

    def _is_stale(self, whole: _Whole) -> bool:
        has_changed = whole.version != self._document.version
        return has_changed and not SMALL < self._document.size <= whole.size * STALE_GROWTH
