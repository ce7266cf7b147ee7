"""Long work of the server's own, in slices: after a few milliseconds everybody else has a turn."""

from __future__ import annotations

from time import perf_counter
from typing import cast

import twisted.internet
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

#: How long work may keep the reactor at a time, in seconds.
SLICE = 0.003


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
