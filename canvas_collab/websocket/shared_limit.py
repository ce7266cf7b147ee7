"""A limit on what is kept in memory for all sockets together."""

from __future__ import annotations

from typing import Protocol


class Holder(Protocol):
    """A socket for which something is kept."""

    def shed(self) -> None:
        """All sockets together have too much, and this one the most: it ends, and lets go of what it has."""


class SharedLimit:
    """What is kept for all sockets together.  Where it would be too much, who has the most of it goes."""

    def __init__(self, limit: int) -> None:
        """:param limit: how many bytes may be kept."""
        self._limit = limit
        self._size = 0
        self._holders: dict[Holder, int] = {}

    def add(self, holder: Holder, size: int) -> None:
        """So many bytes more are kept for a socket."""
        self._size += size
        self._holders[holder] = self._holders.get(holder, 0) + size
        while self._size > self._limit:
            largest = max(self._holders, key=self._holders.__getitem__)
            self._size -= self._holders.pop(largest)
            largest.shed()

    def remove(self, holder: Holder, size: int) -> None:
        """So many bytes of a socket are kept no longer."""
        held = self._holders.get(holder, 0)
        # One that was shed has nothing here any more.
        size = min(size, held)
        self._size -= size
        if held > size:
            self._holders[holder] = held - size
        elif held:
            del self._holders[holder]
