"""The interface of the journal for the code that serves clients: whether it is full, and when edits are on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Commits(Protocol):
    """Notifies of commits."""

    def after_commit(self, document_id: str, act: Callable[[], None]) -> None:
        """Call `act` when all updates of the document that are in the journal now are committed."""


class JournalState(Commits, Protocol):
    """The state of the journal."""

    @property
    def full(self) -> bool:
        """Whether the journal has reached its limit, so that no more updates should be accepted."""
