"""How much work may be spent on a document, so that what takes too long ends with a word about it."""

from __future__ import annotations


class BudgetExceeded(Exception):
    """Something would take more steps than it may."""


class Budget:
    """A number of steps, spent one by one."""

    __slots__ = ("left", "what")

    def __init__(self, steps: int, what: str) -> None:
        """:param what: what the steps are of, for the message."""
        self.left = steps
        self.what = what

    def spend(self, steps: int = 1) -> None:
        """Take so many steps.

        :raises BudgetExceeded: if there are not so many left.
        """
        self.left -= steps
        if self.left < 0:
            raise BudgetExceeded(f"{self.what} takes more steps than it may")
