"""How long a client has been slowed down because it sends too much."""

from __future__ import annotations

#: A client that was not slowed down for so many seconds starts afresh.
RECOVERY = 60.0


class SlowTime:
    """Adds up the time for which a client is slowed down, until it sends less for :data:`RECOVERY` seconds."""

    __slots__ = ("_last", "_patience", "_total")

    def __init__(self, patience: float) -> None:
        """:param patience: how many seconds in all a client may be slowed down; 0 for any number."""
        self._patience = patience
        self._total = 0.0
        self._last = float("-inf")

    def begin(self, now: float) -> bool:
        """Called before a client is slowed down; return whether it starts afresh."""
        starts = now - self._last > RECOVERY
        if starts:
            self._total = 0.0
        self._last = now
        return starts

    def add(self, seconds: float) -> None:
        """Add the time for which the client is slowed down."""
        self._total += seconds

    @property
    def is_over(self) -> bool:
        """Whether the client was slowed down for too long."""
        return 0 < self._patience < self._total
