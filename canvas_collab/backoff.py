"""Exponential backoff with jitter, for everything that retries what a database outage has made fail."""

from __future__ import annotations

import random


class Backoff:
    """The delays between the attempts at something that keeps failing.

    They double up to a limit.  Each is shortened by up to a half at random, so that the connections and daemons that an
    outage has hit do not all retry at the same moment.
    """

    def __init__(self, first: float, longest: float) -> None:
        """:param first: the upper bound of the first delay, in seconds.
        :param longest: the upper bound of every delay, in seconds.
        """
        self._first = first
        self._longest = longest
        self._bound = first

    def next_delay(self) -> float:
        """Return how many seconds to wait before the next attempt."""
        delay = self._bound * random.uniform(0.5, 1.0)
        self._bound = min(self._bound * 2, self._longest)
        return delay

    def reset(self) -> None:
        """Start over with the first delay: an attempt has succeeded."""
        self._bound = self._first
