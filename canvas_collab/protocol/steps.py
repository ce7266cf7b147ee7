"""Work in steps: generators that yield where other work may run in between.

A message of several megabytes takes seconds to check and to merge.  Every function whose running time grows with the
size of a message or of a document is therefore available as a generator that yields after a bounded amount of work,
about a millisecond.  :func:`run_to_completion` runs one at once; :mod:`canvas_collab.scheduling` runs many interleaved.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from heapq import merge
from typing import Final, TypeAlias, TypeVar

T = TypeVar("T")

#: A generator that yields between its steps, and returns its result.
Steps: TypeAlias = Generator[None, None, T]

#: How many structs, values, runs or ranges are processed in one step; a struct is the most expensive of these.
STRUCTS_PER_STEP = 128
VALUES_PER_STEP: Final = 1000
RUNS_PER_STEP = 256
RANGES_PER_STEP = 1000

#: How many numbers are sorted in one step.
SORTED_PER_STEP = 4096

#: How many bytes of structs, or of JSON, are processed in one step.
BYTES_PER_STEP: Final = 2**15


def run_to_completion(steps: Steps[T]) -> T:
    """Run all steps without a pause, and return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def sort_descending(numbers: Iterable[int]) -> Steps[list[int]]:
    """Return the numbers sorted, highest first.

    `numbers` is copied before the first step, so the collection that they come from may change between the steps.
    """
    unsorted = list(numbers)
    if len(unsorted) <= SORTED_PER_STEP:
        return sorted(unsorted, reverse=True)
    parts = []
    for begin in range(0, len(unsorted), SORTED_PER_STEP):
        parts.append(sorted(unsorted[begin : begin + SORTED_PER_STEP], reverse=True))
        yield
    result = []
    for number in merge(*parts, reverse=True):
        result.append(number)
        if len(result) % VALUES_PER_STEP == 0:
            yield
    return result
