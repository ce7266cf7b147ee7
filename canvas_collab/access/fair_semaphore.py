"""Turns at something that only so many can do at once; whoever asks for many gets no more of it than the others."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from twisted.internet.defer import Deferred


class Requester(Protocol):
    """Who asks for a turn: a client's socket."""

    @property
    def gone(self) -> bool:
        """Whether a turn would be for nobody."""


class FairSemaphore:
    """The turns go round those who ask, one for each, however many each has asked for.

    Where as many wait as may, one who has more than anybody else waiting loses the latest of them.
    """

    def __init__(self, at_once: int, waiting_max: int) -> None:
        """:param at_once: how many may have a turn at the same time.
        :param waiting_max: how many may wait for one.
        """
        self._free = at_once
        self._waiting_max = waiting_max
        self._count = 0
        # In the order in which they come to their turn.
        self._waiting: dict[Requester, deque[Deferred[bool]]] = {}
        self._is_passing_on = False

    def __len__(self) -> int:
        """How many wait."""
        return self._count

    def take(self, requester: Requester) -> Deferred[bool]:
        """Wait for a turn: True when it has come, and :meth:`end` ends it; False if it will not come.

        Cancelling ends the wait.
        """
        if self._free and not self._waiting:
            self._free -= 1
            turn: Deferred[bool] = Deferred()
            turn.callback(True)
            return turn
        turn = Deferred(lambda cancelled: self._leave(requester, cancelled))
        own = self._waiting.get(requester)
        if self._count >= self._waiting_max and not self._make_room(len(own) if own else 0):
            turn.callback(False)
            return turn
        self._waiting.setdefault(requester, deque()).append(turn)
        self._count += 1
        return turn

    def end(self) -> None:
        """A turn is over: the next one begins."""
        self._free += 1
        if self._is_passing_on:
            # A turn that was over at once: the loop below goes on, and the stack does not grow.
            return
        self._is_passing_on = True
        try:
            while self._free and self._waiting:
                self._pass_on()
        finally:
            self._is_passing_on = False

    def _pass_on(self) -> None:
        requester = next(iter(self._waiting))
        own = self._waiting.pop(requester)
        turn = own.popleft()
        self._count -= 1
        if own:
            self._waiting[requester] = own
        if requester.gone:
            turn.callback(False)
        else:
            self._free -= 1
            turn.callback(True)

    def _make_room(self, count: int) -> bool:
        """Take the latest from who has most waiting, if that is more than somebody with `count` would have."""
        requester = max(self._waiting, key=lambda each: len(self._waiting[each]))
        own = self._waiting[requester]
        if len(own) <= count + 1:
            return False
        self._count -= 1
        own.pop().callback(False)
        return True

    def _leave(self, requester: Requester, turn: Deferred[bool]) -> None:
        own = self._waiting[requester]
        own.remove(turn)
        self._count -= 1
        if not own:
            del self._waiting[requester]
