"""Tombstones: the awareness clients that have left a room lately, for each user, up to a limit."""

from __future__ import annotations

from typing import final

#: A room remembers at most this many times the limit for one user.
USERS = 10


@final
class Tombstones:
    """The ids of awareness clients that have left, the oldest first.

    Over either limit the user whose client was added last loses tombstones, and no other user.
    """

    __slots__ = ("_count", "_ids", "_max_per_user")

    def __init__(self, max_per_user: int) -> None:
        """:param max_per_user: how many clients of one user are remembered."""
        self._max_per_user = max_per_user
        self._count = 0
        self._ids: dict[str, dict[int, None]] = {}

    def add(self, user: str, client_id: int) -> list[int]:
        """Add a client that has left; return those to forget in its place, which may include the client itself."""
        ids = self._ids.setdefault(user, {})
        ids[client_id] = None
        self._count += 1
        forgotten = []
        while ids and (len(ids) > self._max_per_user or self._count > self._max_per_user * USERS):
            oldest = next(iter(ids))
            self.remove(user, oldest)
            forgotten.append(oldest)
        return forgotten

    def remove(self, user: str, client_id: int) -> None:
        """Remove a client that has come back or is forgotten."""
        ids = self._ids[user]
        del ids[client_id]
        self._count -= 1
        if not ids:
            del self._ids[user]
