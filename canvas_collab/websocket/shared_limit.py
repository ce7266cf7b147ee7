"""A memory limit for all sockets together."""

from __future__ import annotations

from typing import Protocol


class Holder(Protocol):
    """A socket for which data is kept in memory."""

    def shed(self) -> None:
        """Close the socket and release its data: the limit is exceeded, and this socket has the most data."""


class SharedLimit:
    """Limits how much data is kept for all sockets together.  When it is exceeded, the socket with the most is shed."""

    def __init__(self, limit: int) -> None:
        """:param limit: how many bytes may be kept."""
        self._limit = limit
        self._size = 0
        self._holders: dict[Holder, int] = {}

    @property
    def size(self) -> int:
        """How many bytes are kept now."""
        return self._size

    def add(self, holder: Holder, size: int) -> None:
        """Count `size` more bytes that are kept for a socket, and shed sockets while the limit is exceeded."""
        self._size += size
        self._holders[holder] = self._holders.get(holder, 0) + size
        while self._size > self._limit:
            largest = max(self._holders, key=self._holders.__getitem__)
            self._size -= self._holders.pop(largest)
            largest.shed()

    def remove(self, holder: Holder, size: int) -> None:
        """Count `size` bytes of a socket as released."""
        held = self._holders.get(holder, 0)
        # The bytes of a socket that was shed are not counted any more.
        size = min(size, held)
        self._size -= size
        if held > size:
            self._holders[holder] = held - size
        elif held:
            del self._holders[holder]
