"""A connection for one kind of statement, run often: prepared, one at a time, and with little work around each.

A statement on a connection of the pool passes through txpostgres's locks, cursors and Deferreds, and through three
turns of the reactor.  Here libpq's socket is watched all the time, and one Deferred fires when the result has been
read.  Connecting and reconnecting is left to :class:`.ReconnectingConnection`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from typing import Any

import psycopg2
import psycopg2.errors
from psycopg2.extensions import POLL_OK, POLL_WRITE
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from canvas_collab.database.connection import ReconnectingConnection, requires_reconnect, with_keepalive
from canvas_collab.database.error_translation import translate_error
from canvas_collab.database.errors import DatabaseUnavailable
from canvas_collab.database.pool import Row

#: What a prepared statement that is gone, or no longer fits the tables, raises.  Nothing has been done by then.
_PREPARED_IN_VAIN = psycopg2.errors.InvalidSqlStatementName, psycopg2.errors.FeatureNotSupported


class _Socket:
    """libpq's socket for the reactor, under a number of its own.

    libpq closes its socket by itself when it finds the server gone.  A duplicate stays valid until it is closed here,
    so that the reactor never watches another file that has got the same number.
    """

    def __init__(
        self, reactor: Any, number: int, poll: Callable[[], None], on_lost: Callable[[Exception], None]
    ) -> None:
        self._reactor = reactor
        self._number = os.dup(number)
        self._poll = poll
        self._on_lost = on_lost
        self._is_writing = False
        reactor.addReader(self)

    def watch_writing(self, is_writing: bool) -> None:
        """Also poll when the socket can be written to, or no longer."""
        if is_writing != self._is_writing:
            self._is_writing = is_writing
            (self._reactor.addWriter if is_writing else self._reactor.removeWriter)(self)

    def close(self) -> None:
        """Stop watching the socket."""
        if self._number >= 0:
            self._reactor.removeReader(self)
            self._reactor.removeWriter(self)
            os.close(self._number)
            self._number = -1

    def fileno(self) -> int:
        """Return the socket's number, or -1 after it was closed."""
        return self._number

    def doRead(self) -> None:
        """Called when a result, or the end of the connection, can be read."""
        self._poll()

    def doWrite(self) -> None:
        """Called when more of a large statement can be sent."""
        self._poll()

    def connectionLost(self, reason: Failure) -> None:
        """Called when the socket has failed."""
        if self._number >= 0:
            self._on_lost(psycopg2.OperationalError(reason.getErrorMessage()))

    def logPrefix(self) -> str:
        """Return what Twisted's log calls it."""
        return "database"


class DirectConnection(Service):
    """A connection that runs one statement, again and again, with other values.

    The statement is prepared, unless a connection pooler may run each transaction on another connection to the server:
    a prepared statement, like everything that belongs to a session, would be left to somebody else there.  Then, and
    after a prepared statement was deallocated, the text is sent each time.
    """

    log = Logger()

    def __init__(self, reactor: Any, url: str, application_name: str, statement: str, types: Sequence[str]) -> None:
        """:param statement: the statement's text, with ``%s`` for each value.
        :param types: the types of the values.
        """
        self._reactor = reactor
        self._arguments = with_keepalive(url), application_name
        self._parts = [part.encode() for part in statement.split("%s")]
        # At random, since what another connection has prepared may still be there behind a pooler.
        name = f"canvas_collab_{secrets.token_hex(8)}"
        numbered = "".join(
            part + (f"${number}" if number <= len(types) else "")
            for number, part in enumerate(statement.split("%s"), start=1)
        )
        self._prepare = f"PREPARE {name} ({', '.join(types)}) AS {numbered}"
        self._execute = f"EXECUTE {name} (".encode()
        self._is_prepared = False
        self._connection = ReconnectingConnection(reactor)
        self._connection.detector.addRecoveryHandler(self._connected)
        # While there is a connection: psycopg2's, its cursor, and the socket.
        self._raw: Any = None
        self._cursor: Any = None
        self._socket: Any = None
        # While a statement runs: what is told of its end.
        self._running: Deferred[list[Row]] | None = None

    def startService(self) -> None:
        """Connect.  It is retried until it succeeds."""
        Service.startService(self)
        dsn, application_name = self._arguments
        # Statements are made of bytes in UTF-8, whatever encoding the database prefers.
        connecting = self._connection.connect(dsn, application_name=application_name, client_encoding="UTF8")
        connecting.addErrback(self._connection.detector.checkForDeadConnection)
        connecting.addCallbacks(
            lambda _: self._connected(),
            lambda failure: self.log.error("database connection failed", reason=failure.getErrorMessage()),
        )

    def stopService(self) -> None:
        """Close the connection.  A statement that runs fails."""
        Service.stopService(self)
        self._disconnect()
        self._fail_running(psycopg2.InterfaceError("the connection was closed"))
        try:
            self._connection.close()
        except psycopg2.Error:
            # It is being reconnected, and there is nothing to close.
            return

    @property
    def is_ready(self) -> bool:
        """Whether a statement can be run now."""
        return self._socket is not None and self._running is None

    def run(self, values: Sequence[bytes], prefix: bytes = b"") -> Deferred[list[Row]]:
        """Run the statement and return its rows.

        Either everything is committed, or nothing.  If the connection is lost meanwhile, it is not known which.

        :param values: SQL literals, in UTF-8.
        :param prefix: statements to run first, in the same transaction, each with its semicolon.
        :raises DatabaseUnavailable: and the other errors of :meth:`.Database.query`.
        """
        if not self.is_ready:
            return fail(DatabaseUnavailable("the connection is lost, or is running another statement"))
        if not self._is_prepared:
            return self._send(prefix + self._text(values))
        running = self._send(prefix + self._execute + b",".join(values) + b")")
        return running.addErrback(self._run_unprepared, prefix, values)

    def _run_unprepared(self, failure: Failure, prefix: bytes, values: Sequence[bytes]) -> Any:
        """Run a statement that has failed again, if it was for having been prepared, which harms nothing."""
        error = failure.value
        if error is None or not isinstance(error.__cause__, _PREPARED_IN_VAIN) or not self.is_ready:
            return failure
        self._unprepared(str(error))
        return self._send(prefix + self._text(values))

    def _text(self, values: Sequence[bytes]) -> bytes:
        first, *others = self._parts
        return first + b"".join(value + part for value, part in zip(values, others, strict=True))

    def _send(self, statement: bytes) -> Deferred[list[Row]]:
        running: Deferred[list[Row]] = Deferred()
        self._running = running
        try:
            self._cursor.execute(statement)
            state = self._raw.poll()
        except psycopg2.Error as error:
            self._failed(error)
        else:
            if state == POLL_OK:
                # Not now: whoever runs one statement after the other would hold up the reactor.
                self._reactor.callLater(0, self._poll)
            else:
                self._socket.watch_writing(state == POLL_WRITE)
        return running

    def _poll(self) -> None:
        """Send and read what can be sent and read now."""
        if self._socket is None:
            return
        try:
            state = self._raw.poll()
            rows = self._cursor.fetchall() if state == POLL_OK and self._running is not None else None
        except psycopg2.Error as error:
            self._failed(error)
            return
        self._socket.watch_writing(state == POLL_WRITE)
        if rows is not None and self._running is not None:
            running, self._running = self._running, None
            running.callback(rows)

    def _failed(self, error: psycopg2.Error) -> None:
        """A statement, or the connection, has failed."""
        stays = isinstance(error, (*_PREPARED_IN_VAIN, psycopg2.errors.QueryCanceled))
        if self._raw.closed or (not stays and requires_reconnect(Failure(error))):
            self._lost(error)
        elif self._running is not None:
            self._fail_running(error)

    def _lost(self, error: Exception) -> None:
        if self._running is None:
            self.log.warn("database connection lost", reason=" ".join(str(error).split()))
        self._disconnect()
        self._connection.detector.checkForDeadConnection(Failure(psycopg2.OperationalError(str(error))))
        # Last, since whoever hears of it may want to run the statement again.
        self._fail_running(error)

    def _fail_running(self, error: Exception) -> None:
        running, self._running = self._running, None
        if running is not None:
            translated = translate_error(error)
            translated.__cause__ = error
            running.errback(translated)

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = self._raw = self._cursor = None

    def _connected(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._set_up())

    async def _set_up(self) -> None:
        """Prepare the statement on a new connection, and watch its socket from now on."""
        try:
            [(process_id,)] = await self._connection.runQuery("SELECT pg_backend_pid()")
            # A pooler gives its clients numbers of its own.
            if process_id == self._connection.info.backend_pid:
                await self._connection.runOperation(self._prepare)
                self._is_prepared = True
            else:
                self._unprepared("a connection pooler is in between")
        except Exception as error:
            if self._connection.detector.connectionIsDead:
                # It is being reconnected, and set up again after that.
                return
            self._unprepared(str(error))
        if not self.running:
            return
        self._reactor.removeReader(self._connection)
        self._raw = self._connection.pollable()
        self._cursor = self._raw.cursor()
        self._socket = _Socket(self._reactor, self._raw.fileno(), self._poll, self._lost)

    def _unprepared(self, reason: str) -> None:
        self._is_prepared = False
        self.log.info("statement not prepared", reason=" ".join(reason.split()))
