"""Counting and logging messages of unknown types, which are ignored."""

from __future__ import annotations

from twisted.logger import Logger


class IgnoredMessages:
    """Counts the ignored messages of one socket, and logs the first, the tenth, the hundredth and so on."""

    __slots__ = ("_client_address", "_count", "_next_logged")

    log = Logger()

    def __init__(self, client_address: str) -> None:
        """:param client_address: for the event log."""
        self._client_address = client_address
        self._count = 0
        self._next_logged = 1

    def record(self, kind: int, room: str | None, user: str | None) -> None:
        """Count a message of type `kind`."""
        self._count += 1
        if self._count == self._next_logged:
            self._next_logged *= 10
            self.log.info(
                "message ignored", type=kind, count=self._count, room=room, user=user, client=self._client_address
            )
