"""Counting by key in bounded memory, whatever keys there are."""

from __future__ import annotations


class FrequentKeys:
    """Counts the most frequent keys, by the algorithm of Misra and Gries.

    A count is never too high, so no key is blamed for others.  With `n` counted in all it is too low by at most
    ``n / (max_keys + 1)``, and not at all while there are no more than `max_keys` keys.
    """

    def __init__(self, max_keys: int) -> None:
        """:param max_keys: how many keys are counted at the same time."""
        self._max_keys = max_keys
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        """Return how many keys are counted now."""
        return len(self._counts)

    def add(self, key: str) -> int:
        """Count a key once more, and return its count."""
        counts = self._counts
        if key in counts or len(counts) < self._max_keys:
            count = counts[key] = counts.get(key, 0) + 1
            return count
        # Every key gives one up, and so does the new one. That takes long only after as many were counted.
        self._counts = {each: count - 1 for each, count in counts.items() if count > 1}
        return 0

    def forget(self, key: str) -> None:
        """Begin again with the count of a key."""
        self._counts.pop(key, None)

    def clear(self) -> None:
        """Begin again with all counts."""
        self._counts.clear()
