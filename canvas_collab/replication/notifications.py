"""Receives PostgreSQL's notifications (``LISTEN`` and ``NOTIFY``): of appends, of resets, and of changes of access."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import psycopg2
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from canvas_collab.database.connection import ReconnectingConnection, with_keepalive
from canvas_collab.database.errors import DatabaseUnavailable
from canvas_collab.database.pool import Database
from canvas_collab.persistence.statements import LOG_CHANNEL, RESET_CHANNEL
from canvas_collab.replication.payloads import AppendNotification as AppendNotification
from canvas_collab.replication.payloads import parse_append_notification as parse_append_notification
from canvas_collab.timeouts import wait_at_most

#: The channel on which the application notifies that the access of users may have changed.
ACCESS_CHANNEL = "collab_access_changed"

#: The payloads of the notifications by which the daemon tests whether it receives any begin with this.
_TEST = "check"

#: A test notification arrives within so many seconds.
TEST_TIMEOUT = 5.0

#: The name of the connections that listen in PostgreSQL's ``pg_stat_activity``.
APPLICATION_NAME = "canvas-collab listening"

# On the connection that listens.  A pooler may add something to the names.
_OTHERS_LISTEN = """
    SELECT count(*) > 0 FROM pg_stat_activity
     WHERE application_name LIKE %s || '%%' AND datname = current_database() AND pid <> pg_backend_pid()
"""

#: A daemon whose test notification has arrived counts as listening for so many intervals of this daemon's own tests.
HEARD_INTERVALS = 3

#: The problem that is reported if it does not.
NOT_RECEIVED = (
    "the daemon does not receive its own notifications: DATABASE_LISTEN_URL, or DATABASE_URL if that is not set, must "
    "lead to the database directly, not through a transaction pooler, and to the same database as DATABASE_URL"
)


class Notifications(Service):
    """Listens on a connection of its own, and listens again after that was reconnected.

    A connection that listens may receive nothing all the same: a connection pooler in between may run each transaction
    on another connection to the server.  So the daemon regularly sends a test notification to itself.
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
        on_access_change: Callable[[str], None] = lambda payload: None,
        on_other: Callable[[], None] = lambda: None,
    ) -> None:
        """:param url: where to listen: the URL of the database itself, not of a transaction pooler.
        :param database: the pool that sends the test notifications.
        :param interval: how often one is sent, in seconds.
        :param on_append: called for every append, those of this daemon included.
        :param on_gap: called when notifications may have been missed.
        :param on_reset: called with the id of every document that was reset.
        :param on_access_change: called with the payload of every notification of a change of access.
        :param on_other: called when another daemon was found that listens.
        """
        self._reactor = reactor
        self._url = url
        self._database = database
        self._on_append = on_append
        self._on_gap = on_gap
        self._on_reset = on_reset
        self._on_access_change = on_access_change
        self._on_other = on_other
        #: Why notifications are not received; None if they are.
        self.problem: str | None = None
        # Whether the last test notification has arrived on this connection; whether others listened at that time; and
        # when a test notification of another daemon has arrived last.
        self._is_tested = False
        self._others_listen = False
        self._heard_other_at = float("-inf")
        # By their nonces, the test notifications that have not arrived yet.
        self._tests: dict[str, Deferred[bool]] = {}
        self._connection = ReconnectingConnection(reactor)
        self._connection.addNotifyObserver(self._notified)
        self._connection.detector.addRecoveryHandler(self._reconnected)
        self._testing = LoopingCall(self._test)
        self._testing.clock = reactor
        self._interval = interval

    def startService(self) -> None:
        """Connect and listen."""
        Service.startService(self)
        connecting = self._connection.connect(with_keepalive(self._url), application_name=APPLICATION_NAME)
        connecting.addErrback(self._connection.detector.checkForDeadConnection)
        connecting.addErrback(
            lambda failure: self.log.error("database connection failed", reason=failure.getErrorMessage())
        )
        connecting.addCallback(lambda _: self._testing.start(self._interval) if self.running else None)

    def stopService(self) -> None:
        """Stop listening."""
        Service.stopService(self)
        if self._testing.running:
            self._testing.stop()
        try:
            self._connection.close()
        except psycopg2.Error:
            # It is being reconnected.
            return

    @property
    def is_alone(self) -> bool:
        """Whether it is known that no other daemon listens.

        One that begins to listen is heard of by its test notification.  So nothing is known while this daemon receives
        no notifications.
        """
        if not self._is_tested or self._others_listen or self.problem is not None:
            return False
        since = self._reactor.seconds() - self._heard_other_at
        return since > HEARD_INTERVALS * self._interval and not self._connection.detector.connectionIsDead

    def _reconnected(self) -> Deferred[None]:
        self._is_tested = False
        return Deferred.fromCoroutine(self._listen_again())

    async def _listen_again(self) -> None:
        try:
            await self._listen()
        finally:
            # What was appended before this moment is visible, and notifications of what is appended later arrive.
            self._on_gap()
        await self._test()

    def _listen(self) -> Deferred[Any]:
        channels = (LOG_CHANNEL, RESET_CHANNEL, ACCESS_CHANNEL)
        listening: Deferred[Any] = self._connection.runOperation("; ".join(f"LISTEN {name}" for name in channels))
        return listening

    async def _test(self) -> None:
        """Listen, send a test notification, and set :attr:`problem` by whether that arrives."""
        nonce = secrets.token_hex(8)
        arrival = self._tests[nonce] = Deferred()
        problem = None
        try:
            try:
                await self._listen()
            except Exception as error:
                problem = _sentence(error) or "the connection that listens is lost"
            await self._database.execute("SELECT pg_notify(%s, %s)", (LOG_CHANNEL, f"{_TEST} {nonce}"))
            if problem is None and not await wait_at_most(self._reactor, arrival, TEST_TIMEOUT, False):
                problem = NOT_RECEIVED
            if problem is None:
                await self._find_others()
        except DatabaseUnavailable:
            # Nothing can be said now.  When the database is reachable again, so is this connection, and listens again.
            return
        except Exception as error:
            # Raising it would end the tests for good.
            problem = _sentence(error)
        finally:
            del self._tests[nonce]
        if self.running:
            self._set_problem(problem)

    async def _find_others(self) -> None:
        """Find out whether other daemons listen; without an answer they may."""
        try:
            [(self._others_listen,)] = await self._connection.runQuery(_OTHERS_LISTEN, (APPLICATION_NAME,))
        except Exception:
            self._others_listen = True
        self._is_tested = True
        if self._others_listen:
            self._on_other()

    def _set_problem(self, problem: str | None) -> None:
        had_problem, self.problem = self.problem is not None, problem
        has_problem = problem is not None
        if has_problem == had_problem:
            return
        if has_problem:
            self.log.warn("notifications not received", reason=problem)
        else:
            self.log.info("notifications received again")
        # Also when they are received again: those sent since the log was last read have not arrived.
        self._on_gap()

    def _notified(self, notification: Any) -> None:
        if notification.channel == RESET_CHANNEL:
            self._on_reset(notification.payload)
            return
        if notification.channel == ACCESS_CHANNEL:
            self._on_access_change(notification.payload)
            return
        kind, _, rest = notification.payload.partition(" ")
        if kind == _TEST:
            if rest not in self._tests:
                self._heard_other_at = self._reactor.seconds()
                self._on_other()
            elif not self._tests[rest].called:
                self._tests[rest].callback(True)
            return
        append = parse_append_notification(notification.payload)
        if append is not None:
            self._on_append(append)


def _sentence(error: Exception) -> str:
    """Return the message of an exception on one line."""
    return " ".join(str(error).split())
