"""What those who serve clients need to know of the journal: whether it is full, and when edits are on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Commits(Protocol):
    """What tells when something is on disk."""

    def after_commit(self, document_id: str, act: Callable[[], None]) -> None:
        """Call `act` when everything of a document that is queued now is in the database."""


class JournalState(Commits, Protocol):
    """The state of the journal."""

    @property
    def full(self) -> bool:
        """Whether no more updates should be taken now."""
