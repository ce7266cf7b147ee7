"""A connection to PostgreSQL that reconnects itself, built on txpostgres.

Every connection has txpostgres's detector, which reconnects it when it was lost.  Until then whatever is run on it
fails with :exc:`~txpostgres.reconnection.ConnectionDead`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import psycopg2.errors
from psycopg2.extensions import make_dsn, parse_dsn
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from txpostgres import txpostgres
from txpostgres.reconnection import DeadConnectionDetector

from canvas_collab.backoff import Backoff
from canvas_collab.config.database_url import libpq_url

#: The bounds of the delays between the attempts to reconnect, in seconds.  The first attempt is made at once.
FIRST_RECONNECT_DELAY = 0.25
LONGEST_RECONNECT_DELAY = 2.0

#: An attempt to connect is aborted after so many seconds: a server may accept connections and never answer.
CONNECT_TIMEOUT = 10.0

#: libpq's parameters by which the operating system detects within half a minute that the server is unreachable.
KEEPALIVE_PARAMETERS = {
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "4",
    "tcp_user_timeout": "30000",
}


def with_keepalive(url: str) -> str:
    """Return `url` with :data:`KEEPALIVE_PARAMETERS`; parameters that it has already take precedence."""
    url = libpq_url(url)
    given = parse_dsn(url)
    return str(make_dsn(url, **{name: value for name, value in KEEPALIVE_PARAMETERS.items() if name not in given}))


def reconnect_delays() -> Iterator[float]:
    """Yield how many seconds to wait before each attempt to reconnect."""
    yield 0.0
    backoff = Backoff(FIRST_RECONNECT_DELAY, LONGEST_RECONNECT_DELAY)
    while True:
        yield backoff.next_delay()


def requires_reconnect(failure: Failure) -> bool:
    """Return whether a connection must be reconnected after this failure.

    "Read only" may be true of the server that the connection leads to, or come from a setting that was read when it was
    made, so a new connection may not have it.  A lock timeout says nothing about the connection.
    """
    return not failure.check(psycopg2.errors.LockNotAvailable) and bool(
        failure.check(
            psycopg2.InterfaceError,
            psycopg2.OperationalError,
            psycopg2.errors.ReadOnlySqlTransaction,
            txpostgres.RollbackFailed,
        )
    )


class _UnwatchedWhilePolling:
    """Polls a connection while the reactor does not watch its socket.

    libpq closes the socket by itself when it finds the server gone.  If the reactor still watched it at that moment, it
    would believe that it watches the next socket that gets the same number already, and never poll that.
    """

    reactor: Any
    pollable: Callable[[], Any]

    def continuePolling(self, swallowErrors: bool = False) -> None:
        """Stop watching the socket and poll, which watches it again where that is needed."""
        self.reactor.removeReader(self)
        self.reactor.removeWriter(self)
        super().continuePolling(swallowErrors)  # type: ignore[misc]

    def fileno(self) -> int:
        """Return the socket's number, or -1 if it is closed."""
        pollable = self.pollable()
        try:
            number: int = -1 if pollable.closed else pollable.fileno()
        except psycopg2.Error:
            # psycopg2 has not noticed yet that libpq has closed it.
            return -1
        return number


class _Cursor(_UnwatchedWhilePolling, txpostgres.Cursor):  # type: ignore[misc]
    """A cursor that stops watching the socket while it sends a statement as well: libpq may close it then, too."""

    def _doit(self, name: str, *args: object, **keywords: object) -> Any:
        self.reactor.removeReader(self._connection)
        result = super()._doit(name, *args, **keywords)
        if result.called and self.fileno() >= 0:
            # The statement was not sent, and the connection is not lost: a parameter cannot be adapted, for example.
            self.reactor.addReader(self._connection)
        return result


class ReconnectingConnection(_UnwatchedWhilePolling, txpostgres.Connection):  # type: ignore[misc]
    """A connection that reconnects itself, and that detects a lost server while it is idle."""

    log = Logger()
    cursorFactory = _Cursor

    def __init__(self, reactor: Any = None, cooperator: Any = None) -> None:
        detector = DeadConnectionDetector(requires_reconnect, reconnect_delays, reactor)
        super().__init__(reactor, cooperator, detector=detector)

    def connect(self, *arguments: object, **keywords: object) -> Deferred[Any]:
        """Connect, or fail after :data:`CONNECT_TIMEOUT`."""
        connecting: Deferred[Any] = super().connect(*arguments, **keywords)
        if connecting.called:
            return connecting
        # libpq's own connect_timeout applies to blocking connections only.
        timer = self.reactor.callLater(CONNECT_TIMEOUT, self.close)

        def finished(result: Any) -> Any:
            if timer.active():
                timer.cancel()
            elif isinstance(result, Failure):
                return Failure(psycopg2.OperationalError("the server did not answer in time"))
            return result

        return connecting.addBoth(finished)

    def doRead(self) -> Exception | None:
        """Called when an idle connection becomes readable, usually because the server has closed it.

        Returns an error if the connection is lost; the reactor then calls ``connectionLost`` with it.
        """
        try:
            super().doRead()
        except psycopg2.Error as error:
            return self._log_lost(error)
        except ValueError:
            # The reactor's answer to a file descriptor of -1.
            return self._log_lost(psycopg2.OperationalError("the socket was closed"))
        return None

    def _log_lost(self, error: psycopg2.Error) -> psycopg2.Error:
        self.log.warn("database connection lost", reason=" ".join(str(error).split()))
        return error
