"""The connection pool: queries and transactions as coroutines that raise the errors of :mod:`.errors`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import psycopg2
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from txpostgres import txpostgres

from canvas_collab.database.connection import ReconnectingConnection, with_keepalive
from canvas_collab.database.error_translation import translate_error
from canvas_collab.timeouts import wait_at_most

Parameters: TypeAlias = Sequence[object] | Mapping[str, object]
Row = tuple[Any, ...]
_T = TypeVar("_T")


class _IdleConnections(set[ReconnectingConnection]):
    """The connections that are not in use.  Those that are connected are taken first."""

    def pop(self) -> ReconnectingConnection:
        """Remove a connection and return it, if possible one that is connected."""
        connection = next((one for one in self if not one.detector.connectionIsDead), None)
        if connection is None:
            return super().pop()
        self.remove(connection)
        return connection


class _Pool(txpostgres.ConnectionPool):  # type: ignore[misc]
    connectionFactory = ReconnectingConnection
    connections: set[ReconnectingConnection]

    def __init__(self, *arguments: object, **keywords: object) -> None:
        super().__init__(*arguments, **keywords)
        self.connections = _IdleConnections(self.connections)


class Transaction:
    """An open transaction."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    async def query(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """Run a statement and return its rows."""
        await self._cursor.execute(sql, parameters)
        rows: list[Row] = self._cursor.fetchall()
        return rows

    async def execute(self, sql: str, parameters: Parameters = ()) -> None:
        """Run a statement that returns no rows."""
        await self._cursor.execute(sql, parameters)


class Database(Service):
    """A pool of connections to one PostgreSQL database."""

    log = Logger()

    def __init__(self, reactor: IReactorTime, url: str, size: int) -> None:
        """:param url: a libpq connection URL.
        :param size: how many connections are kept open.
        """
        self._reactor = reactor
        self._pool = _Pool(None, with_keepalive(url), min=size, application_name="canvas-collab")
        self._connections = list(self._pool.connections)
        self._ping: Deferred[bool] | None = None
        # Fires when the first attempt to connect has ended for every connection, whether it succeeded or not.
        self._opened: Deferred[object] = Deferred()

    def startService(self) -> None:
        """Connect.  Connections that fail are retried until they succeed."""
        Service.startService(self)
        attempts = []
        for connection in self._connections:
            connecting = connection.connect(*self._pool.connargs, **self._pool.connkw)
            connecting.addErrback(connection.detector.checkForDeadConnection)
            connecting.addErrback(self._log_failure)
            attempts.append(connecting)
        DeferredList(attempts).addCallback(self._opened.callback)

    def _log_failure(self, failure: Failure) -> None:
        self.log.error("database connection failed", reason=failure.getErrorMessage())

    def stopService(self) -> None:
        """Close every connection."""
        Service.stopService(self)
        for connection in self._connections:
            try:
                connection.close()
            except psycopg2.Error:
                # A connection that is being reconnected has nothing to close.
                continue

    async def query(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """Run one statement and return its rows.

        :raises DatabaseUnavailable: if the database cannot be reached.
        :raises LockTimeout: if ``lock_timeout`` is set, and another transaction holds a lock for longer.
        :raises InvalidValue: if a parameter does not fit the type of its column.
        :raises ValuesRefused: if a constraint or a trigger refuses the parameters.
        """
        return await self._run(lambda: self._pool.runQuery(sql, parameters))

    async def execute(self, sql: str, parameters: Parameters = ()) -> None:
        """Run one statement that returns no rows; raises as :meth:`query` does."""
        await self._run(lambda: self._pool.runOperation(sql, parameters))

    async def transaction(self, steps: Callable[[Transaction], Coroutine[Deferred[Any], Any, _T]]) -> _T:
        """Run `steps` in a transaction, which is rolled back if they raise; raises as :meth:`query` does."""
        return await self._run(
            lambda: self._pool.runInteraction(lambda cursor: Deferred.fromCoroutine(steps(Transaction(cursor))))
        )

    async def ping(self, timeout: float) -> float | None:
        """Return how many seconds the database takes to answer a query, or None if it takes more than `timeout`.

        A query that has not been answered yet is awaited again instead of sending another, so that a database that
        hangs occupies no more than one connection.
        """
        started = self._reactor.seconds()
        if self._ping is None or self._ping.called:
            asking = Deferred.fromCoroutine(self.query("SELECT 1"))
            self._ping = asking.addCallbacks(lambda _rows: True, lambda _failure: False)
        if not await wait_at_most(self._reactor, self._ping, timeout, False):
            return None
        return self._reactor.seconds() - started

    async def _run(self, operation: Callable[[], Deferred[_T]]) -> _T:
        if not self._opened.called:
            opened: Deferred[object] = Deferred()
            self._opened.addCallback(opened.callback)
            await opened
        try:
            return await operation()
        except Exception as error:
            translated = translate_error(error)
            if translated is error:
                raise
            raise translated from error
