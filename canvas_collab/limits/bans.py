"""A list of banned keys, in bounded memory."""

from __future__ import annotations


class BanList:
    """The keys that are banned, each for the same time.  When the list is full, the oldest ban ends early."""

    def __init__(self, duration: float, max_bans: int) -> None:
        """:param duration: how long a ban lasts, in seconds.
        :param max_bans: how many keys may be banned at the same time.
        """
        self._duration = duration
        self._max_bans = max_bans
        # When each ban ends, in this order: all last equally long.
        self._ends: dict[str, float] = {}

    def __len__(self) -> int:
        """Return how many bans are kept, those included that have ended and were not removed yet."""
        return len(self._ends)

    def add(self, key: str, now: float) -> None:
        """Ban a key from now on."""
        ends = self._ends
        ends.pop(key, None)
        while ends and (len(ends) >= self._max_bans or next(iter(ends.values())) <= now):
            del ends[next(iter(ends))]
        ends[key] = now + self._duration

    def has(self, key: str, now: float) -> bool:
        """Return whether a key is banned."""
        return self._ends.get(key, now) > now
