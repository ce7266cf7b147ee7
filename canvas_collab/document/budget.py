"""Limits the work spent on one document, so that work that would take too long ends with an error."""

from __future__ import annotations


class BudgetExceeded(Exception):
    """Something would take more operations than allowed."""


class Budget:
    """A number of operations that are allowed, counted down."""

    __slots__ = ("remaining", "what")

    def __init__(self, operations: int, what: str) -> None:
        """:param what: what the operations are for, for the error message."""
        self.remaining = operations
        self.what = what

    def spend(self, operations: int = 1) -> None:
        """Count operations.

        :raises BudgetExceeded: if fewer were left.
        """
        self.remaining -= operations
        if self.remaining < 0:
            raise BudgetExceeded(f"{self.what} takes too many operations")
