"""Work in steps: generators that yield wherever whoever drives them may do something else first.

A message of megabytes takes seconds to check and to merge.  Everything whose time grows with the size of a message or
of a document is therefore written as a generator that yields after a bounded amount of work, about a millisecond's.
:func:`complete` runs one to its end at once; :mod:`canvas_collab.scheduling` runs many side by side.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias, TypeVar

T = TypeVar("T")

#: A generator that yields between its steps, and returns its result.
Steps: TypeAlias = Generator[None, None, T]

#: How many structs, values, runs or ranges are dealt with in one step; a struct is the dearest of these.
STRUCTS_PER_STEP = 128
VALUES_PER_STEP = 1000
RUNS_PER_STEP = 256
RANGES_PER_STEP = 1000

#: How many bytes of structs, or of JSON.
BYTES_PER_STEP = 2**15


def complete(steps: Steps[T]) -> T:
    """Take all steps at once, and return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
