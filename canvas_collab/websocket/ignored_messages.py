"""Messages that a client sends and that mean nothing here, counted."""

from __future__ import annotations

from twisted.logger import Logger


class IgnoredMessages:
    """How many messages of one socket were ignored; the log says so of the first, the tenth, the hundredth ..."""

    __slots__ = ("_client", "_count", "_next")

    log = Logger()

    def __init__(self, client: str) -> None:
        """:param client: the client's address."""
        self._client = client
        self._count = 0
        self._next = 1

    def note(self, kind: int, room: str | None, user: str | None) -> None:
        """A message of type `kind` was ignored."""
        self._count += 1
        if self._count == self._next:
            self._next *= 10
            count = self._count
            self.log.info("message ignored", type=kind, count=count, room=room, user=user, client=self._client)
