"""The numbers of messages: what is new, what was sent again, and whether something is missing."""

from __future__ import annotations

import enum


class Order(enum.Enum):
    """How a message relates to those that its sender has sent before."""

    #: The next one, or the first that is received from its sender.
    NEXT = enum.auto()
    #: Messages before it are missing.
    GAP = enum.auto()
    #: It was received before, or is older than what was.
    OLD = enum.auto()


class Sequences:
    """The highest numbers that were received from each sender."""

    def __init__(self) -> None:
        self._last: dict[bytes, int] = {}

    def receive(self, origin: bytes, number: int) -> Order:
        """Record a message, unless it is old, and return how it relates to the earlier ones of its sender."""
        last = self._last.get(origin)
        if last is not None and number <= last:
            return Order.OLD
        self._last[origin] = number
        return Order.NEXT if last is None or number == last + 1 else Order.GAP

    def forget(self, origin: bytes) -> None:
        """Forget a sender that has stopped."""
        self._last.pop(origin, None)
