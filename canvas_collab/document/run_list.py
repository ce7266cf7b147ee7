"""The sorted list of one client's runs, as a document stores it: appending, inserting, and finding gaps.

The runs are in order and do not overlap; where one ends the next begins, or there is a gap.  Adjacent runs are joined
unless the first is much larger, so that every byte is copied a bounded number of times, and the latest edits are in
small runs.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from canvas_collab.protocol.ranges import Range
from canvas_collab.protocol.steps import RUNS_PER_STEP
from canvas_collab.protocol.structs import RUN_SIZE, Run, join_runs, slice_run

#: A run is joined with the one before it unless that has at least this many times as many bytes.
SIZE_RATIO = 4


def append_run(runs: list[Run], run: Run) -> None:
    """Append a run, which must begin at or after the end of the last, and join it with those of similar size."""
    while runs and _are_joinable(runs[-1], run):
        run = join_runs(runs.pop(), run)
    runs.append(run)


def _are_joinable(first: Run, second: Run) -> bool:
    """Return whether two runs are adjacent, of similar size, and small together."""
    size = len(second.data)
    return first.end == second.clock and len(first.data) < SIZE_RATIO * size and len(first.data) + size <= RUN_SIZE


def find_gaps(runs: Sequence[Run], start: int, end: int, limit: int = RUNS_PER_STEP) -> tuple[list[Range], int]:
    """Return the ranges from `start` up to `end` that no run covers, after looking at no more than `limit` runs.

    Also returns the clock up to which all gaps were found; it is less than `end` if the limit was reached.
    """
    gaps: list[Range] = []
    index = bisect_right(runs, start, key=lambda run: run.end)
    for place in range(index, min(index + limit, len(runs))):
        run = runs[place]
        if run.clock >= end:
            break
        if run.clock > start:
            gaps.append((start, run.clock))
        start = max(start, run.end)
    else:
        if index + limit < len(runs):
            return gaps, min(start, end)
    if start < end:
        gaps.append((start, end))
    return gaps, end


def insert_runs(runs: list[Run], new: Sequence[Run], client: int) -> Sequence[Run]:
    """Insert a client's runs, in order, where they belong; returns the parts of them that were not covered already."""
    new = [part for run in new for part in _uncovered_parts(runs, run, client)]
    if not new:
        return new
    first = max(bisect_right(runs, new[0].clock, key=lambda run: run.clock) - 1, 0)
    last = bisect_left(runs, new[-1].end, key=lambda run: run.clock) + 1
    merged: list[Run] = []
    for run in sorted([*runs[first:last], *new], key=lambda run: run.clock):
        append_run(merged, run)
    runs[first:last] = merged
    return new


def _uncovered_parts(runs: Sequence[Run], run: Run, client: int) -> Sequence[Run]:
    gaps, _ = find_gaps(runs, run.clock, run.end, len(runs) + 1)
    if gaps == [(run.clock, run.end)]:
        return (run,)
    return [slice_run(run, start, end, client) for start, end in gaps]


def contiguous_end(runs: Sequence[Run], clock: int) -> int:
    """Return the clock up to which the runs have no gap, if they have none up to `clock`."""
    index = max(bisect_right(runs, clock, key=lambda run: run.clock) - 1, 0)
    while index < len(runs) and runs[index].clock <= clock:
        clock = max(clock, runs[index].end)
        index += 1
    return clock
