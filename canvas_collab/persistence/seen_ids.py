"""The ids of the log entries that this daemon has seen: that it has appended, or read and applied.

Ids become visible out of order: an entry may appear long after one with a higher id, if its transaction takes longer.
So the ids below some id are complete only when every transaction has ended that was running when that id was read.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from attrs import frozen

#: At the start so many of the newest ids count as not seen: some may belong to transactions that are still running.
INITIAL_MARGIN = 10_000

#: So many ranges of ids are remembered at most.
MAX_RANGES = 10_000

#: A transaction that has appended to the log is assumed to have ended after so many seconds.
LONGEST_TRANSACTION = 3600.0

#: The highest possible id.
MAX_ID = 2**63 - 1


@frozen
class LogHorizon:
    """What was visible of the log at some moment.

    `newest_id` is the highest id of an entry.  `oldest_running` and `next_transaction` are the numbers of the oldest
    transaction that was still running and of the next that would start: the ``xmin`` and ``xmax`` of PostgreSQL's
    snapshot.
    """

    newest_id: int
    oldest_running: int
    next_transaction: int


class SeenIds:
    """The ids that were seen, as ranges, above a floor: no new entry can appear with an id up to that."""

    def __init__(self) -> None:
        self._floor: int | None = None
        # The next floor.  It is not used at once: a transaction gets its number a moment after the id of its first
        # entry, so one may exist that the horizon does not know of.
        self._next_floor = 0
        self._horizon: LogHorizon | None = None
        self._horizon_time = 0.0
        # The first and last ids of the ranges, in ascending order.
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def add(self, first: int, last: int) -> None:
        """All entries with ids from `first` to `last` were seen."""
        if self._floor is not None:
            if last <= self._floor:
                return
            first = max(first, self._floor + 1)
        begin = bisect_left(self._lasts, first - 1)
        end = bisect_right(self._firsts, last + 1)
        if begin < end:
            first = min(first, self._firsts[begin])
            last = max(last, self._lasts[end - 1])
        self._firsts[begin:end] = [first]
        self._lasts[begin:end] = [last]
        if len(self._firsts) > MAX_RANGES:
            self._drop_short_ranges()

    def gaps(self) -> tuple[list[int], list[int]]:
        """Return the first and the last ids of the ranges that were not seen; none before :meth:`start`."""
        if self._floor is None:
            return [], []
        return [self._floor + 1, *(last + 1 for last in self._lasts)], [*(first - 1 for first in self._firsts), MAX_ID]

    def start(self, horizon: LogHorizon) -> None:
        """Set the first floor, somewhat below the newest id."""
        if self._floor is None:
            self._floor = self._next_floor = max(horizon.newest_id - INITIAL_MARGIN, 0)
            self._drop_below_floor()

    @property
    def is_started(self) -> bool:
        """Whether there is a floor."""
        return self._floor is not None

    def advance(self, horizon: LogHorizon, now: float) -> None:
        """All entries in the gaps that were visible at the horizon were seen: raise the floor if possible.

        :param now: the time, in seconds.
        """
        previous = self._horizon
        if previous is not None:
            have_ended = horizon.oldest_running >= previous.next_transaction
            if not have_ended and now - self._horizon_time <= LONGEST_TRANSACTION:
                return
            self._floor, self._next_floor = self._next_floor, max(previous.newest_id, self._next_floor)
            self._drop_below_floor()
        self._horizon, self._horizon_time = horizon, now

    def _drop_below_floor(self) -> None:
        assert self._floor is not None
        count = bisect_right(self._lasts, self._floor)
        del self._firsts[:count], self._lasts[:count]
        if self._firsts and self._firsts[0] <= self._floor:
            self._firsts[0] = self._floor + 1

    def _drop_short_ranges(self) -> None:
        """Drop the shorter half of the ranges: their entries are only read again."""
        longest_first = sorted(zip(self._firsts, self._lasts, strict=True), key=lambda one: one[0] - one[1])
        kept = sorted(longest_first[: MAX_RANGES // 2])
        self._firsts = [first for first, _ in kept]
        self._lasts = [last for _, last in kept]
