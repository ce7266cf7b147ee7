"""Deciding when a room flushes: at once while flushing is cheap, in growing windows when it is expensive.

Sending every update of a busy room to every connection takes more than one core has, unless the updates of a window
are merged and sent once.  The window is computed from the measured cost of the last flushes, so that flushing takes a
fixed share of the core: under load the latency reaches a limit instead of growing without bound.
"""

from __future__ import annotations

from typing import Final, final

#: The weight of the newest measurement in the moving average of the cost.
SMOOTHING: Final = 0.3


@final
class FlushPacer:
    """Decides how long to wait before the next flush.  Times are seconds of a monotonic clock, passed in."""

    __slots__ = ("_cost", "_max_window", "_min_window", "_not_before", "_share")

    def __init__(self, share: float, max_window: float, min_window: float = 0.0) -> None:
        """:param share: the share of the core that flushing may take, between 0 and 1.
        :param max_window: how many seconds a flush is delayed at most.
        :param min_window: how many seconds there are between two flushes at least, however cheap they are.
        """
        self._share = share
        self._max_window = max_window
        self._min_window = min_window
        self._cost = 0.0
        self._not_before = 0.0

    def delay(self, now: float) -> float:
        """Return how many seconds to wait before flushing what arrives now; 0 if the last flush was long enough ago."""
        return min(max(self._not_before - now, 0.0), self._max_window)

    def flushed(self, started: float, finished: float) -> None:
        """Record how long a flush took."""
        self._cost += SMOOTHING * (finished - started - self._cost)
        self._not_before = finished + max(self._cost * (1 - self._share) / self._share, self._min_window)
