"""Translates the exceptions of psycopg2, txpostgres and Twisted into the errors of :mod:`.errors`.

Apart from these, so that the commands, which do without Twisted, do not import it: that takes longer than most of them.
"""

from __future__ import annotations

import psycopg2
import psycopg2.errors
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionDone, ConnectionLost
from txpostgres.reconnection import ConnectionDead
from txpostgres.txpostgres import RollbackFailed

from canvas_collab.database.errors import (
    DatabaseUnavailable,
    InvalidValue,
    LockTimeout,
    StatementFailed,
    ValuesRefused,
)

#: Classes of SQLSTATE codes that only the values of a statement cause, or code of the application that checks them:
#: PL/pgSQL's CASE without a match, too many rows, a function that ends without RETURN, what functions and triggers
#: raise.  42501 (insufficient privilege) is not among them: a row-level security policy raises the same code for one
#: row as for every row.
VALUE_ERROR_CLASSES = frozenset({"09", "20", "21", "2F", "38", "39", "44", "P0"})

#: What is raised when a connection cannot be used, or was lost.  txpostgres makes a CancelledError of a statement that
#: the server has cancelled, for example after ``statement_timeout``.
_CONNECTION_ERRORS = CancelledError, ConnectionDead, ConnectionDone, ConnectionLost, RollbackFailed

_UNAVAILABLE = psycopg2.OperationalError, psycopg2.InterfaceError, psycopg2.errors.ReadOnlySqlTransaction


def translate_error(error: Exception) -> Exception:
    """Return the exception that callers of the pool get for `error`: `error` itself if it is not the database's.

    Its message is PostgreSQL's own sentence alone.  The details that follow it, and the part of the statement that it
    quotes, can hold a document's content, and messages are logged.
    """
    if isinstance(error, psycopg2.errors.LockNotAvailable):
        # A statement waits for a table's lock before it begins to run, and has a context only while it runs.
        return LockTimeout(_message_of(error), is_row_lock=error.diag.context is not None)
    if isinstance(error, psycopg2.Error):
        return _kind_of(error)(_message_of(error))
    return DatabaseUnavailable(_message_of(error)) if isinstance(error, _CONNECTION_ERRORS) else error


def _message_of(error: Exception) -> str:
    primary = error.diag.message_primary if isinstance(error, psycopg2.Error) else None
    return (primary or str(error)).strip() or type(error).__name__


def _kind_of(error: psycopg2.Error) -> type[ValuesRefused | DatabaseUnavailable | StatementFailed]:
    if isinstance(error, psycopg2.DataError):
        return InvalidValue
    code = error.pgcode or ""
    # psycopg2 has no class for codes that PostgreSQL does not define; only functions and triggers raise those.
    has_custom_code = bool(code) and type(error) is psycopg2.DatabaseError
    if isinstance(error, psycopg2.IntegrityError) or code[:2] in VALUE_ERROR_CLASSES or has_custom_code:
        return ValuesRefused
    return DatabaseUnavailable if isinstance(error, _UNAVAILABLE) else StatementFailed
