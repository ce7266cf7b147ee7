"""Work that takes longer than one turn of the reactor should: a slice of it at a time, and everybody else in between.

What is done in steps (:mod:`canvas_collab.protocol.steps`) gets the reactor for a few milliseconds; then sockets are
looked at, timers run, and it goes on.  What clients have sent takes turns, step by step, in one :class:`Cooperator`;
what the server does by itself has :class:`Slices` of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import cast

import twisted.internet
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Cooperator

from canvas_collab.protocol.steps import Steps, T

#: How long work in steps may keep the reactor at a time, in seconds.
SLICE = 0.003


def make_cooperator(reactor: IReactorTime) -> Cooperator:
    """What the messages of all clients take turns in."""
    return Cooperator(_slice, lambda work: reactor.callLater(0, work))


def _slice() -> Callable[[], bool]:
    end = perf_counter() + SLICE
    return lambda: perf_counter() >= end


async def pause(reactor: IReactorTime | None = None) -> None:
    """Let everybody else have a turn."""
    if reactor is None:
        reactor = cast(IReactorTime, twisted.internet.reactor)
    turn: Deferred[None] = Deferred()
    reactor.callLater(0, turn.callback, None)
    await turn


class Slices:
    """The slices of one piece of work, which asks after each small step whether its time is up."""

    def __init__(self, reactor: IReactorTime | None = None) -> None:
        self._reactor = reactor
        self._end = perf_counter() + SLICE

    async def step(self) -> None:
        """A small step is done."""
        if perf_counter() >= self._end:
            await pause(self._reactor)
            self._end = perf_counter() + SLICE

    async def do(self, steps: Steps[T]) -> T:
        """Do all steps of some work, and return its result; raises what the work raises."""
        while True:
            try:
                next(steps)
            except StopIteration as end:
                result: T = end.value
                return result
            await self.step()
