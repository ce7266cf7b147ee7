"""The errors of the database, in the few kinds that callers treat differently."""

from __future__ import annotations


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
