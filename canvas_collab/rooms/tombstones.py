"""Which awareness clients have left a room lately, by user, and how many of them are remembered."""

from __future__ import annotations

#: A whole room remembers so many times what it remembers of one user.
USERS = 10


class Tombstones:
    """The ids of clients that have left, the oldest first.  A user who has too many loses their own, nobody else's."""

    __slots__ = ("_count", "_left", "_most")

    def __init__(self, most: int) -> None:
        """:param most: how many clients of one user are remembered."""
        self._most = most
        self._count = 0
        self._left: dict[str, dict[int, None]] = {}

    def add(self, user: str, client_id: int) -> list[int]:
        """A client has left.  Returns those that are to be forgotten for it, which may be that very one."""
        left = self._left.setdefault(user, {})
        left[client_id] = None
        self._count += 1
        forgotten = []
        while left and (len(left) > self._most or self._count > self._most * USERS):
            oldest = next(iter(left))
            self.cancel(user, oldest)
            forgotten.append(oldest)
        return forgotten

    def cancel(self, user: str, client_id: int) -> None:
        """A client is back, or was forgotten."""
        left = self._left[user]
        del left[client_id]
        self._count -= 1
        if not left:
            del self._left[user]
