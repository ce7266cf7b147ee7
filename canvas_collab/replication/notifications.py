"""Hearing of what others have put into the log, by PostgreSQL's LISTEN and NOTIFY."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import psycopg2
from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from canvas_collab.database.connection import ReconnectingConnection, with_keepalive
from canvas_collab.database.errors import DatabaseUnavailable
from canvas_collab.database.pool import Database
from canvas_collab.persistence.statements import LOG_CHANNEL, RESET_CHANNEL
from canvas_collab.timeouts import wait_at_most

#: What a daemon sends itself begins with this.
_CHECK = "check"

#: What is sent to oneself arrives within so many seconds.
HEARING_TIMEOUT = 5.0

#: What is said where it does not.
NOT_HEARD = "what is sent to oneself does not arrive: is there a transaction pooler before the database?"


@frozen
class AppendNotification:
    """Entries that were added to the log, by the lowest of their ids and the highest; `origin` is who added them.

    Some between these may be somebody else's.
    """

    origin: str
    first: int
    last: int


def parse_append_notification(payload: str) -> AppendNotification | None:
    """Read a notification's payload, ``ORIGIN FIRST LAST``; None if it is none of ours."""
    try:
        origin, first, last = payload.split(" ")
        return AppendNotification(origin, int(first), int(last))
    except ValueError:
        return None


class Notifications(Service):
    """A connection of its own that listens, and listens again after the database was away.

    That it listens does not say that it hears: a connection pooler in between may give every transaction another
    connection to the server.  So the daemon sends itself something from time to time.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        url: str,
        database: Database,
        interval: float,
        on_append: Callable[[AppendNotification], None],
        on_gap: Callable[[], None],
        on_reset: Callable[[str], None],
    ) -> None:
        """:param database: by which the daemon sends itself something.
        :param interval: how often it does that, in seconds.
        :param on_addition: is told of every addition, one's own included.
        :param on_gap: is told when some may have been missed.
        :param on_reset: is told of every document that was made anew without some of it.
        """
        self._reactor = reactor
        self._url = url
        self._database = database
        self._on_addition = on_append
        self._on_gap = on_gap
        self._on_reset = on_reset
        #: Why additions are not heard of, or None if they are.
        self.problem: str | None = None
        self._awaited: dict[str, Deferred[bool]] = {}
        self._connection = ReconnectingConnection(reactor)
        self._connection.addNotifyObserver(self._notified)
        self._connection.detector.addRecoveryHandler(self._recovered)
        self._checking = LoopingCall(self._check)
        self._checking.clock = reactor
        self._interval = interval

    def startService(self) -> None:
        """Connect and listen."""
        Service.startService(self)
        connecting = self._connection.connect(with_keepalive(self._url), application_name="canvas-collab listening")
        connecting.addErrback(self._connection.detector.checkForDeadConnection)
        connecting.addErrback(
            lambda failure: self.log.error("database connection failed", reason=failure.getErrorMessage())
        )
        connecting.addCallback(lambda _: self._checking.start(self._interval) if self.running else None)

    def stopService(self) -> None:
        """Stop listening."""
        Service.stopService(self)
        if self._checking.running:
            self._checking.stop()
        try:
            self._connection.close()
        except psycopg2.Error:
            # It was just being made again.
            return

    def _recovered(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._listen_again())

    async def _listen_again(self) -> None:
        try:
            await self._listen()
        finally:
            # What was added before is visible, and what is added from now on is heard of.
            self._on_gap()
        await self._check()

    def _listen(self) -> Deferred[Any]:
        listening: Deferred[Any] = self._connection.runOperation(f"LISTEN {LOG_CHANNEL}; LISTEN {RESET_CHANNEL}")
        return listening

    async def _check(self) -> None:
        """Listen, and find out whether what is sent to oneself arrives."""
        nonce = secrets.token_hex(8)
        heard = self._awaited[nonce] = Deferred()
        problem = None
        try:
            try:
                await self._listen()
            except Exception as error:
                problem = " ".join(str(error).split()) or "the connection that listens is lost"
            await self._database.execute("SELECT pg_notify(%s, %s)", (LOG_CHANNEL, f"{_CHECK} {nonce}"))
            if problem is None and not await wait_at_most(self._reactor, heard, HEARING_TIMEOUT, False):
                problem = NOT_HEARD
        except DatabaseUnavailable:
            # Nobody can be heard now, and when the database is back one listens again.
            return
        finally:
            del self._awaited[nonce]
        if self.running:
            self._conclude(problem)

    def _conclude(self, problem: str | None) -> None:
        was_well, self.problem = self.problem is None, problem
        is_well = problem is None
        if was_well == is_well:
            return
        if is_well:
            self.log.info("notifications received again")
        else:
            self.log.warn("notifications not received", reason=problem)
        # When it is well again, too: what came between the last look and this moment was not heard.
        self._on_gap()

    def _notified(self, notification: Any) -> None:
        if notification.channel == RESET_CHANNEL:
            self._on_reset(notification.payload)
            return
        kind, _, rest = notification.payload.partition(" ")
        if kind == _CHECK and rest in self._awaited:
            if not self._awaited[rest].called:
                self._awaited[rest].callback(True)
            return
        addition = parse_append_notification(notification.payload)
        if addition is not None:
            self._on_addition(addition)
