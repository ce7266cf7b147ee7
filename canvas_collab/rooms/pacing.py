"""When to flush: at once while that is cheap, in growing windows when it is not.

Sending to everyone in a busy room costs more than one core has, unless what comes in during a window is merged and
sent once.  The window follows from what the last flushes really cost, so that fan-out takes a set share of the core:
latency stays flat under load instead of growing without end.
"""

from __future__ import annotations


class FlushPacer:
    """Decides how long to wait before the next flush.  Times are seconds of a monotonic clock, passed in."""

    __slots__ = ("_cost", "_max_window", "_min_window", "_not_before", "_share")

    #: How much the newest measurement counts against the older ones.
    SMOOTHING = 0.3

    def __init__(self, share: float, max_window: float, min_window: float = 0.0) -> None:
        """:param share: the part of the core that flushing may take, between 0 and 1.
        :param max_window: no flush waits longer, in seconds.
        :param min_window: so long after a flush the next one comes at the earliest, in seconds, cheap as it may be.
        """
        self._share = share
        self._max_window = max_window
        self._min_window = min_window
        self._cost = 0.0
        self._not_before = 0.0

    def delay(self, now: float) -> float:
        """How long something that has just come in should wait for company; 0 in a quiet room."""
        return min(max(self._not_before - now, 0.0), self._max_window)

    def flushed(self, started: float, finished: float) -> None:
        """A flush took from `started` to `finished`."""
        self._cost += self.SMOOTHING * (finished - started - self._cost)
        self._not_before = finished + max(self._cost * (1 - self._share) / self._share, self._min_window)
