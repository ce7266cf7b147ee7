"""Who is told when what they have edited is in the database, each document's in the order of asking.

An entry that cannot be committed as things are holds back whoever waits for its document, and nobody else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from attrs import Factory, define, frozen


@frozen
class _Waiting:
    """Somebody who waits until everything before a position is committed: of one document, or of all."""

    position: int
    document_id: str | None
    act: Callable[[], None]


@define(eq=False)
class _Held:
    """The positions of a document's entries that are held up, the lowest of them, and who waits for them."""

    positions: set[int] = Factory(set)
    first: int = 0
    waiting: deque[_Waiting] = Factory(deque)


class CommitCallbacks:
    """Knows up to where entries are committed, save those that are held up, and who waits for what."""

    def __init__(self) -> None:
        # Everything before this position is committed or held up.
        self._reached = 0
        self._held: dict[str, _Held] = {}
        self._waiting: deque[_Waiting] = deque()
        # Who waits for all documents, where one is held up.
        self._waiting_for_all: deque[_Waiting] = deque()

    def ask(self, position: int, document_id: str | None, act: Callable[[], None]) -> None:
        """Call `act`, which must not raise, when everything of a document, or of all, before a position is there."""
        self._waiting.append(_Waiting(position, document_id, act))
        self._release()

    def hold(self, document_id: str, position: int) -> None:
        """The entry at a position is not committed when those around it are."""
        held = self._held.setdefault(document_id, _Held())
        held.first = min(held.first, position) if held.positions else position
        held.positions.add(position)

    def let_go(self, document_id: str, position: int) -> None:
        """One that was held up is committed."""
        held = self._held.get(document_id)
        if held is None:
            return
        held.positions.discard(position)
        if held.positions:
            if position == held.first:
                held.first = min(held.positions)
            while held.waiting and held.waiting[0].position <= held.first:
                held.waiting.popleft().act()
        else:
            del self._held[document_id]
            for waiting in held.waiting:
                waiting.act()
        first = min((held.first for held in self._held.values()), default=None)
        while self._waiting_for_all and (first is None or self._waiting_for_all[0].position <= first):
            self._waiting_for_all.popleft().act()

    def reach(self, position: int) -> None:
        """Everything before a position is committed or held up."""
        self._reached = position
        self._release()

    def _release(self) -> None:
        while self._waiting and self._waiting[0].position <= self._reached:
            waiting = self._waiting.popleft()
            if waiting.document_id is None:
                is_reading_paused = any(held.first < waiting.position for held in self._held.values())
                others = self._waiting_for_all
            else:
                held = self._held.get(waiting.document_id)
                is_reading_paused = held is not None and held.first < waiting.position
                others = held.waiting if held is not None else self._waiting
            if is_reading_paused:
                others.append(waiting)
            else:
                waiting.act()
