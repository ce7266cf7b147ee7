"""Which entries of the log this daemon has seen, by their ids.

Ids become visible out of order: an entry may appear long after one with a higher id.  So none is believed to be the
last below some id before every transaction has ended that was under way when that id was seen.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from attrs import frozen

#: At the beginning so many of the newest ids count as not seen, for transactions that were under way before.
MARGIN = 10_000

#: So many stretches of ids are remembered at most.
MOST_STRETCHES = 10_000

#: No transaction that has added to the log is believed to be under way for more seconds than this.
LONGEST_TRANSACTION = 3600.0

#: Above every id.
END = 2**63 - 1


@frozen
class Mark:
    """The newest id at some time; the oldest transaction that was under way then, and the next that would begin."""

    newest: int
    oldest_running: int
    next_transaction: int


class SeenIds:
    """The ids that were seen, as stretches, above one below which nothing new appears."""

    def __init__(self) -> None:
        self._floor: int | None = None
        # Below this nothing new appears either, as far as transactions have numbers. One gets its number a moment
        # after the id of its first entry, so that is believed only the next time.
        self._settled = 0
        self._mark: Mark | None = None
        self._marked_at = 0.0
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def add(self, first: int, last: int) -> None:
        """All entries with ids from the first to the last were seen."""
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
        if len(self._firsts) > MOST_STRETCHES:
            self._forget_short_ones()

    def gaps(self) -> tuple[list[int], list[int]]:
        """The stretches between what was seen: their first ids and their last ones; none before the first mark."""
        if self._floor is None:
            return [], []
        return [self._floor + 1, *(last + 1 for last in self._lasts)], [*(first - 1 for first in self._firsts), END]

    def begin(self, mark: Mark) -> None:
        """Nothing was looked for yet; from now on that is done from somewhat below the newest id."""
        if self._floor is None:
            self._floor = self._settled = max(mark.newest - MARGIN, 0)
            self._forget_below()

    @property
    def has_begun(self) -> bool:
        """Whether it is known from where to look."""
        return self._floor is not None

    def settle(self, mark: Mark, now: float) -> None:
        """All entries in the gaps that were visible at the time of a mark have been seen."""
        former = self._mark
        if former is not None:
            is_over = mark.oldest_running >= former.next_transaction or now - self._marked_at > LONGEST_TRANSACTION
            if not is_over:
                return
            self._floor, self._settled = self._settled, max(former.newest, self._settled)
            self._forget_below()
        self._mark, self._marked_at = mark, now

    def _forget_below(self) -> None:
        assert self._floor is not None
        place = bisect_right(self._lasts, self._floor)
        del self._firsts[:place], self._lasts[:place]
        if self._firsts and self._firsts[0] <= self._floor:
            self._firsts[0] = self._floor + 1

    def _forget_short_ones(self) -> None:
        """What is forgotten is only read again."""
        stretches = sorted(zip(self._firsts, self._lasts, strict=True), key=lambda one: one[0] - one[1])
        kept = sorted(stretches[: MOST_STRETCHES // 2])
        self._firsts = [first for first, _ in kept]
        self._lasts = [last for _, last in kept]
