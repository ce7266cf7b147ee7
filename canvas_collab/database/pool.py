"""The connection pool: queries and transactions as coroutines, with few kinds of failure.

Built on txpostgres.  Every connection has a detector that reconnects it when it has died; until then whatever lands on
it fails with :exc:`DatabaseUnavailable`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import psycopg2
import psycopg2.errors
from psycopg2.extensions import make_dsn, parse_dsn
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from txpostgres import txpostgres
from txpostgres.reconnection import ConnectionDead, DeadConnectionDetector

#: A connection that was lost is made again at once, then after about the first of these seconds, doubled each time up
#: to the second.
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 2.0

#: An attempt to connect is given up after so many seconds: somebody may accept connections who never answers.
CONNECT_TIMEOUT = 10.0

#: How the system finds out that nobody is at the other end any more, within half a minute: by libpq's parameters.
#: Those in the URL count more.
LIVENESS = {
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "4",
    "tcp_user_timeout": "30000",
}

#: Classes of errors that only values bring about, or somebody's code that looks at them: no case for it, too many rows
#: for one, a function that ends without having returned, what functions and triggers raise. Missing rights are not
#: among them: a policy for rows raises the same for one row as for everybody's.
REFUSALS = frozenset({"09", "20", "21", "2F", "38", "39", "44", "P0"})

Parameters: TypeAlias = Sequence[object] | Mapping[str, object]
Row = tuple[Any, ...]
_T = TypeVar("_T")


class DatabaseUnavailable(Exception):
    """The database cannot be asked now; the same question may be answered later."""


class Locked(DatabaseUnavailable):
    """A statement has waited for somebody else's lock for as long as ``lock_timeout`` lets it.

    `is_row` says whether it was a row's lock; else it was that of a whole table.
    """

    def __init__(self, message: str, is_row: bool) -> None:
        super().__init__(message)
        self.is_row = is_row


class Refused(Exception):
    """The database takes the statement and refuses the values in it, as it will the next time."""


class InvalidValue(Refused):
    """A value does not fit the type of the column it was compared with."""


def _pauses() -> Iterator[float]:
    """How long to wait before each attempt to connect."""
    yield 0.0
    pause = FIRST_PAUSE
    while True:
        # At random, so that not all connections of all daemons come at once.
        yield pause * random.uniform(0.5, 1.0)
        pause = min(pause * 2, LONGEST_PAUSE)


def _is_over(failure: Failure) -> bool:
    """Whether a connection on which this happened is to be made again.

    That it is read only may be of the server that it leads to, or a setting of the time when it was made.  That
    somebody else holds a lock says nothing of the connection.
    """
    return not failure.check(psycopg2.errors.LockNotAvailable) and bool(
        failure.check(
            psycopg2.InterfaceError,
            psycopg2.OperationalError,
            psycopg2.errors.ReadOnlySqlTransaction,
            txpostgres.RollbackFailed,
        )
    )


def _kind_of(error: psycopg2.Error) -> type[Refused | DatabaseUnavailable] | None:
    """What an error is for whoever has asked; None where it is as it is."""
    if isinstance(error, psycopg2.DataError):
        return InvalidValue
    code = error.pgcode or ""
    # With a code that PostgreSQL does not have, nobody but a trigger raises.
    is_of_no_class = code and type(error) is psycopg2.DatabaseError
    if isinstance(error, psycopg2.IntegrityError) or code[:2] in REFUSALS or is_of_no_class:
        return Refused
    unavailable = psycopg2.OperationalError, psycopg2.InterfaceError, psycopg2.errors.ReadOnlySqlTransaction
    return DatabaseUnavailable if isinstance(error, unavailable) else None


class _Unwatched:
    """Polls a connection while the reactor does not watch its socket.

    libpq closes the socket by itself when it finds the server gone. If the reactor watched it then, it would take the
    next socket with the same number for one that it watches already, and never look at it.
    """

    reactor: Any
    pollable: Callable[[], Any]

    def continuePolling(self, swallowErrors: bool = False) -> None:
        """Poll; what has to be watched afterwards is added then."""
        self.reactor.removeReader(self)
        self.reactor.removeWriter(self)
        super().continuePolling(swallowErrors)  # type: ignore[misc]

    def fileno(self) -> int:
        """The socket's number, or -1 if it has none any more."""
        pollable = self.pollable()
        try:
            number: int = -1 if pollable.closed else pollable.fileno()
        except psycopg2.Error:
            # psycopg2 has not noticed yet that libpq has closed it.
            return -1
        return number


class _Cursor(_Unwatched, txpostgres.Cursor):  # type: ignore[misc]
    """A cursor; sending its statement is another moment at which the socket can be closed."""

    def _doit(self, name: str, *args: object, **keywords: object) -> Any:
        self.reactor.removeReader(self._connection)
        result = super()._doit(name, *args, **keywords)
        if result.called and self.fileno() >= 0:
            # The statement could not even be sent, for a reason of its own.
            self.reactor.addReader(self._connection)
        return result


class _Connection(_Unwatched, txpostgres.Connection):  # type: ignore[misc]
    """A connection that comes back by itself after it was lost."""

    log = Logger()
    cursorFactory = _Cursor

    def __init__(self, reactor: Any = None, cooperator: Any = None) -> None:
        detector = DeadConnectionDetector(_is_over, _pauses, reactor)
        super().__init__(reactor, cooperator, detector=detector)

    def connect(self, *arguments: object, **keywords: object) -> Deferred[Any]:
        """Connect, or fail in time."""
        connecting: Deferred[Any] = super().connect(*arguments, **keywords)
        if connecting.called:
            return connecting
        # libpq has a limit of its own only where it may block.
        timer = self.reactor.callLater(CONNECT_TIMEOUT, self.close)

        def finished(result: Any) -> Any:
            if timer.active():
                timer.cancel()
            elif isinstance(result, Failure):
                return Failure(psycopg2.OperationalError("the server did not answer in time"))
            return result

        return connecting.addBoth(finished)

    def doRead(self) -> Exception | None:
        """The server has something to say to a connection that is idle: most likely goodbye."""
        try:
            super().doRead()
        except psycopg2.Error as error:
            return self._lost(error)
        except ValueError:
            # What the reactor says to a number of -1.
            return self._lost(psycopg2.OperationalError("the socket was closed"))
        return None

    def _lost(self, error: psycopg2.Error) -> psycopg2.Error:
        """Returns the error: the reactor takes what `doRead` returns for the reason why a connection is over."""
        self.log.warn("database connection lost", reason=" ".join(str(error).split()))
        return error


def connection(reactor: IReactorTime) -> Any:
    """A connection of its own, outside the pool, that comes back by itself in the same way."""
    return _Connection(reactor)


class _Idle(set[_Connection]):
    """The connections that nobody uses; those that are there are taken before those that are being made again."""

    def pop(self) -> _Connection:
        """Take one out."""
        connection = next((one for one in self if not one.detector.connectionIsDead), None)
        if connection is None:
            return super().pop()
        self.remove(connection)
        return connection


class _Pool(txpostgres.ConnectionPool):  # type: ignore[misc]
    connectionFactory = _Connection
    connections: set[_Connection]

    def __init__(self, *arguments: object, **keywords: object) -> None:
        super().__init__(*arguments, **keywords)
        self.connections = _Idle(self.connections)


class Cursor:
    """A transaction's cursor."""

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
        self._pool = _Pool(None, with_liveness(url), min=size, application_name="canvas-collab")
        self._connections = list(self._pool.connections)
        self._ping: Deferred[bool] | None = None
        # Fires when every connection has been tried once.
        self._opened: Deferred[object] = Deferred()

    def startService(self) -> None:
        """Connect; connections that cannot be made now are tried again until they can."""
        Service.startService(self)
        attempts = []
        for connection in self._connections:
            connecting = connection.connect(*self._pool.connargs, **self._pool.connkw)
            connecting.addErrback(connection.detector.checkForDeadConnection)
            connecting.addErrback(self._not_connected)
            attempts.append(connecting)
        DeferredList(attempts).addCallback(self._opened.callback)

    def _not_connected(self, failure: Failure) -> None:
        self.log.error("database connection failed", reason=failure.getErrorMessage())

    def stopService(self) -> None:
        """Close every connection."""
        Service.stopService(self)
        for connection in self._connections:
            try:
                connection.close()
            except psycopg2.Error:
                # One that was being made again has nothing to close.
                continue

    async def query(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """Run one statement and return its rows.

        :raises DatabaseUnavailable: if the database cannot be reached.
        :raises Locked: if ``lock_timeout`` is set, and somebody else holds a lock for longer.
        :raises InvalidValue: if a parameter is not of the type it is compared with.
        :raises Refused: if a constraint or a trigger does not let a value in.
        """
        return await self._guarded(lambda: self._pool.runQuery(sql, parameters))

    async def execute(self, sql: str, parameters: Parameters = ()) -> None:
        """Run one statement that returns no rows; raises as :meth:`query` does."""
        await self._guarded(lambda: self._pool.runOperation(sql, parameters))

    async def transaction(self, steps: Callable[[Cursor], Coroutine[Deferred[Any], Any, _T]]) -> _T:
        """Run `steps` in a transaction, rolled back if they raise; raises as :meth:`query` does."""
        return await self._guarded(
            lambda: self._pool.runInteraction(lambda cursor: Deferred.fromCoroutine(steps(Cursor(cursor))))
        )

    async def ping(self, timeout: float) -> float | None:
        """How many seconds the database takes to answer, or None if it does not within `timeout` seconds.

        A question that was not answered stays open and is not asked twice, so that a database that hangs costs one
        connection, and no more.
        """
        started = self._reactor.seconds()
        if self._ping is None or self._ping.called:
            asking = Deferred.fromCoroutine(self.query("SELECT 1"))
            self._ping = asking.addCallbacks(lambda _rows: True, lambda _failure: False)
        if not await wait_at_most(self._reactor, self._ping, timeout, False):
            return None
        return self._reactor.seconds() - started

    async def _guarded(self, ask: Callable[[], Deferred[_T]]) -> _T:
        if not self._opened.called:
            opened: Deferred[object] = Deferred()
            self._opened.addCallback(opened.callback)
            await opened
        try:
            return await ask()
        except psycopg2.errors.LockNotAvailable as error:
            # For a table's lock a statement waits before it does anything; for a row's in the midst of something.
            raise Locked(str(error).strip(), is_row=error.diag.context is not None) from error
        except psycopg2.Error as error:
            kind = _kind_of(error)
            if kind is None:
                raise
            raise kind(str(error).strip() or type(error).__name__) from error
        except (
            # What txpostgres makes of a statement that the server has cancelled, after a time limit for example.
            CancelledError,
            ConnectionDead,
            ConnectionDone,
            ConnectionLost,
            txpostgres.RollbackFailed,
        ) as error:
            raise DatabaseUnavailable(str(error).strip() or type(error).__name__) from error


def with_liveness(url: str) -> str:
    """The URL with what lets the system find out that nobody is at the other end any more."""
    given = parse_dsn(url)
    return str(make_dsn(url, **{name: value for name, value in LIVENESS.items() if name not in given}))


async def wait_at_most(reactor: IReactorTime, deferred: Deferred[_T], timeout: float, otherwise: _T) -> _T:
    """Wait for `deferred`, but not longer than `timeout` seconds: then the answer is `otherwise`.

    Unlike ``addTimeout`` this cancels nothing: cancelling a query asks the server over a new, blocking connection.
    """
    outcome: Deferred[_T] = Deferred()
    timer = reactor.callLater(timeout, outcome.callback, otherwise)

    def pass_on(result: _T | Failure) -> _T | Failure | None:
        if timer.active():
            timer.cancel()
            outcome.callback(result)
        return None if isinstance(result, Failure) else result

    deferred.addBoth(pass_on)
    return await outcome
