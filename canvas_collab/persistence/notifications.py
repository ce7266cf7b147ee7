"""Hearing of what others have put into the log, by PostgreSQL's LISTEN and NOTIFY."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg2
from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from canvas_collab.database.pool import connection, with_liveness

#: Whoever adds to the log notifies this channel in the same transaction.
CHANNEL = "canvas_collab_log"

#: Whoever makes a stored document anew, without some of it, notifies this channel in the same transaction; the payload
#: is the document's name.
RESET_CHANNEL = "canvas_collab_reset"


@frozen
class Addition:
    """Entries that were added to the log, by the lowest of their ids and the highest; `origin` is who added them.

    Some between these may be somebody else's.
    """

    origin: str
    first: int
    last: int


def parse_addition(payload: str) -> Addition | None:
    """Read a notification's payload, ``ORIGIN FIRST LAST``; None if it is none of ours."""
    try:
        origin, first, last = payload.split(" ")
        return Addition(origin, int(first), int(last))
    except ValueError:
        return None


class Notifications(Service):
    """A connection of its own that listens, and listens again after the database was away."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        url: str,
        on_addition: Callable[[Addition], None],
        on_gap: Callable[[], None],
        on_reset: Callable[[str], None],
    ) -> None:
        """:param on_addition: is told of every addition, one's own included.
        :param on_gap: is told when some may have been missed.
        :param on_reset: is told of every document that was made anew without some of it.
        """
        self._url = url
        self._on_addition = on_addition
        self._on_gap = on_gap
        self._on_reset = on_reset
        self._connection = connection(reactor)
        self._connection.addNotifyObserver(self._notified)
        self._connection.detector.addRecoveryHandler(self._recovered)

    def startService(self) -> None:
        """Connect and listen."""
        Service.startService(self)
        connecting = self._connection.connect(with_liveness(self._url), application_name="canvas-collab listening")
        connecting.addCallback(lambda _: self._listen())
        connecting.addErrback(self._connection.detector.checkForDeadConnection)
        connecting.addErrback(
            lambda failure: self.log.error("database connection failed", reason=failure.getErrorMessage())
        )

    def stopService(self) -> None:
        """Stop listening."""
        Service.stopService(self)
        try:
            self._connection.close()
        except psycopg2.Error:
            # It was just being made again.
            return

    def _listen(self) -> Deferred[Any]:
        listening: Deferred[Any] = self._connection.runOperation(f"LISTEN {CHANNEL}; LISTEN {RESET_CHANNEL}")
        return listening

    def _recovered(self) -> Deferred[Any]:
        return self._listen().addCallback(lambda _: self._on_gap())

    def _notified(self, notification: Any) -> None:
        if notification.channel == RESET_CHANNEL:
            self._on_reset(notification.payload)
            return
        addition = parse_addition(notification.payload)
        if addition is not None:
            self._on_addition(addition)
