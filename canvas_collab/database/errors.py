"""The errors of the database, in the few kinds that callers treat differently."""

from __future__ import annotations

import psycopg2
import psycopg2.errors
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionDone, ConnectionLost
from txpostgres.reconnection import ConnectionDead
from txpostgres.txpostgres import RollbackFailed

#: Classes of SQLSTATE codes that only the values of a statement cause, or code of the application that checks them:
#: PL/pgSQL's CASE without a match, too many rows, a function that ends without RETURN, what functions and triggers
#: raise.  42501 (insufficient privilege) is not among them: a row-level security policy raises the same code for one
#: row as for every row.
VALUE_ERROR_CLASSES = frozenset({"09", "20", "21", "2F", "38", "39", "44", "P0"})

#: What is raised when a connection cannot be used, or was lost.  txpostgres makes a CancelledError of a statement that
#: the server has cancelled, for example after ``statement_timeout``.
_CONNECTION_ERRORS = CancelledError, ConnectionDead, ConnectionDone, ConnectionLost, RollbackFailed

_UNAVAILABLE = psycopg2.OperationalError, psycopg2.InterfaceError, psycopg2.errors.ReadOnlySqlTransaction


class UnsuitableDatabase(Exception):
    """The database cannot be used as it is.  `problems` has a sentence for each reason, with the remedy."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class DatabaseUnavailable(Exception):
    """The statement cannot be run now; the same statement may succeed later."""


class LockTimeout(DatabaseUnavailable):
    """A statement has waited for another transaction's lock for longer than ``lock_timeout``.

    `is_row_lock` tells a row's lock from the lock of a whole table.
    """

    def __init__(self, message: str, is_row_lock: bool) -> None:
        super().__init__(message)
        self.is_row_lock = is_row_lock


class ValuesRefused(Exception):
    """A constraint or a trigger refuses the values of a statement, and will do so again if it is retried."""


class StatementFailed(Exception):
    """A statement failed for any other reason, for example because a right or a table is missing."""


class InvalidValue(ValuesRefused):
    """A value does not fit the type of the column it is stored in or compared with."""


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
