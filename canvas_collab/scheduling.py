"""Runs long work in the reactor without blocking it.

Work written in steps (:mod:`canvas_collab.protocol.steps`) runs for a few milliseconds at a time.  Between these time
slices the reactor handles sockets and timers.  All work under way takes turns, one step each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Cooperator

from canvas_collab.protocol.steps import Steps, T

#: How long work in steps may occupy the reactor before it returns to it, in seconds.
TIME_SLICE = 0.003


def make_cooperator(reactor: IReactorTime) -> Cooperator:
    """Return the cooperator that all work in steps of one daemon shares."""
    return Cooperator(_terminator, lambda work: reactor.callLater(0, work))


def _terminator() -> Callable[[], bool]:
    """Return the predicate that tells the cooperator when a time slice is over."""
    end = perf_counter() + TIME_SLICE
    return lambda: perf_counter() >= end


async def run(cooperator: Cooperator, steps: Steps[T]) -> T:
    """Run work in steps, interleaved with other work, and return its result; raises what the work raises."""
    results: list[T] = []

    def work() -> Iterator[Any]:
        results.append((yield from steps))

    await cooperator.coiterate(work())
    return results[0]
