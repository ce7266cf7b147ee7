"""Work that takes longer than one turn of the reactor should: many such, side by side, a slice of each at a time.

What is done in steps (:mod:`canvas_collab.protocol.steps`) gets the reactor for a few milliseconds; then sockets are
looked at, timers run, and it goes on.  All that is under way takes turns, step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Cooperator

from canvas_collab.protocol.steps import Steps, T

#: How long work in steps may keep the reactor at a time, in seconds.
SLICE = 0.003


def make_cooperator(reactor: IReactorTime) -> Cooperator:
    """What all work in steps of one daemon takes turns in."""
    return Cooperator(_slice, lambda work: reactor.callLater(0, work))


def _slice() -> Callable[[], bool]:
    end = perf_counter() + SLICE
    return lambda: perf_counter() >= end


async def run(cooperator: Cooperator, steps: Steps[T]) -> T:
    """Do all steps of some work, others in between, and return its result; raises what the work raises."""
    results: list[T] = []

    def work() -> Iterator[Any]:
        results.append((yield from steps))

    await cooperator.coiterate(work())
    return results[0]
