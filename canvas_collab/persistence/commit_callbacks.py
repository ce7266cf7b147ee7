"""Calls functions when the log entries that they wait for are committed.

Callbacks that wait for one document are called in the order in which they were added.  An entry whose commit is
postponed delays the callbacks that wait for its document, and no others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from attrs import Factory, define, frozen


@frozen
class _Callback:
    """A function to call when all entries before a position are committed: those of one document, or all."""

    position: int
    document_id: str | None
    function: Callable[[], None]


@define(eq=False)
class _PostponedDocument:
    """The positions of a document's postponed entries, the lowest of them, and the callbacks that wait for them."""

    positions: set[int] = Factory(set)
    lowest: int = 0
    callbacks: deque[_Callback] = Factory(deque)


class CommitCallbacks:
    """The callbacks that wait for commits; is told by the journal which entries are committed and which postponed."""

    def __init__(self) -> None:
        # Every entry before this position is committed or postponed.
        self._position = 0
        self._postponed: dict[str, _PostponedDocument] = {}
        # The callbacks whose position is not reached; and those of which it is, and that wait for postponed entries of
        # any document.
        self._waiting: deque[_Callback] = deque()
        self._waiting_for_postponed: deque[_Callback] = deque()

    def add(self, position: int, document_id: str | None, function: Callable[[], None]) -> None:
        """Call `function`, which must not raise, when all entries before `position` are committed.

        :param document_id: the document whose entries count; None if those of all documents do.
        """
        self._waiting.append(_Callback(position, document_id, function))
        self._run_due()

    def postpone(self, document_id: str, position: int) -> None:
        """The entry at `position` is not committed together with those before and after it."""
        postponed = self._postponed.setdefault(document_id, _PostponedDocument())
        postponed.lowest = min(postponed.lowest, position) if postponed.positions else position
        postponed.positions.add(position)

    def commit_postponed(self, document_id: str, position: int) -> None:
        """The postponed entry at `position` is committed."""
        postponed = self._postponed.get(document_id)
        if postponed is None:
            return
        postponed.positions.discard(position)
        if postponed.positions:
            if position == postponed.lowest:
                postponed.lowest = min(postponed.positions)
            while postponed.callbacks and postponed.callbacks[0].position <= postponed.lowest:
                postponed.callbacks.popleft().function()
        else:
            del self._postponed[document_id]
            for callback in postponed.callbacks:
                callback.function()
        lowest = min((postponed.lowest for postponed in self._postponed.values()), default=None)
        while self._waiting_for_postponed and (lowest is None or self._waiting_for_postponed[0].position <= lowest):
            self._waiting_for_postponed.popleft().function()

    def advance(self, position: int) -> None:
        """Every entry before `position` is committed or postponed."""
        self._position = position
        self._run_due()

    def _run_due(self) -> None:
        while self._waiting and self._waiting[0].position <= self._position:
            callback = self._waiting.popleft()
            if callback.document_id is None:
                is_postponed = any(postponed.lowest < callback.position for postponed in self._postponed.values())
                queue = self._waiting_for_postponed
            else:
                postponed = self._postponed.get(callback.document_id)
                is_postponed = postponed is not None and postponed.lowest < callback.position
                queue = postponed.callbacks if postponed is not None else self._waiting
            if is_postponed:
                queue.append(callback)
            else:
                callback.function()
