"""Recognizing echoes: the y-websocket clients send back every change of awareness that they receive.

In a room with N clients one movement of a cursor comes back N times, and a client that joins sends back the states of
all others.  Most of these echoes repeat the update byte for byte, so they are recognized by its hash, before they are
decoded and before their size is checked.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import final

#: How many broadcast updates are remembered, and how many of those sent to one member alone.
REMEMBERED = 1024


@final
class _Member:
    """A member: how many updates were broadcast before it joined, and the hashes of those sent to it alone."""

    __slots__ = ("joined_at", "received")

    def __init__(self, joined_at: int) -> None:
        self.joined_at = joined_at
        self.received: dict[int, None] = {}


@final
class EchoFilter:
    """The awareness updates that were sent in one room lately, to all members or to one of them."""

    __slots__ = ("_broadcast_count", "_broadcasts", "_members")

    def __init__(self) -> None:
        self._broadcast_count = 0
        # The number of each broadcast update by its hash, the oldest first.
        self._broadcasts: dict[int, int] = {}
        self._members: dict[Hashable, _Member] = {}

    def add_member(self, member: Hashable) -> None:
        """Add a member, which receives all updates that are broadcast from now on."""
        self._members[member] = _Member(self._broadcast_count)

    def remove_member(self, member: Hashable) -> None:
        """Remove a member."""
        self._members.pop(member, None)

    def record_broadcast(self, payload: bytes) -> None:
        """Remember an update that was sent to all members."""
        key = hash(payload)
        self._broadcast_count += 1
        self._broadcasts.pop(key, None)
        self._broadcasts[key] = self._broadcast_count
        _discard_oldest(self._broadcasts)

    def record_sent(self, member: Hashable, payload: bytes) -> None:
        """Remember an update that was sent to one member."""
        state = self._members.get(member)
        if state is not None:
            state.received[hash(payload)] = None
            _discard_oldest(state.received)

    def is_echo(self, member: Hashable, payload: bytes) -> bool:
        """Return whether an update that `member` sends repeats one that it was sent.

        Updates that were broadcast before it joined do not count: a client that reconnects may send the same state as
        before.
        """
        state = self._members.get(member)
        if state is None:
            return False
        key = hash(payload)
        return self._broadcasts.get(key, 0) > state.joined_at or key in state.received


def _discard_oldest(hashes: dict[int, int] | dict[int, None]) -> None:
    if len(hashes) > REMEMBERED:
        del hashes[next(iter(hashes))]
