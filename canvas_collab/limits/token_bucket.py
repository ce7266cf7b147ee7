"""A token bucket that looks at the clock only when it is empty."""

from __future__ import annotations

import math
from typing import final


@final
class TokenBucket:
    """Holds tokens that are taken by subtracting from :attr:`left`, and that come back at a constant rate.

    Whoever finds it empty calls :meth:`refill`.  Tokens that came back are added only then, at most a full bucket of
    them, so taking tokens costs a subtraction and a comparison.  In any interval of `t` seconds at most
    ``2 * rate * burst + rate * t`` tokens can be taken, and never fewer than from a bucket that is refilled all the
    time.
    """

    __slots__ = ("_capacity", "_rate", "_refilled_at", "left")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        """:param rate: how many tokens come back in a second; 0 for a bucket that is never empty.
        :param burst: how many seconds' worth of tokens the bucket holds.
        """
        self._rate = rate
        self._capacity = rate * burst if rate else math.inf
        self._refilled_at = now
        #: How many tokens are left.  Below zero, more were taken than there were.
        self.left = self._capacity

    def refill(self, now: float) -> None:
        """Add the tokens that came back since the last call."""
        if self._rate:
            self.left = min(self._capacity, self.left + (now - self._refilled_at) * self._rate)
            self._refilled_at = now

    def seconds_until(self, count: float) -> float:
        """Return in how many seconds after the last refill there are `count` tokens."""
        return max((count - self.left) / self._rate, 0.0) if self._rate else 0.0
