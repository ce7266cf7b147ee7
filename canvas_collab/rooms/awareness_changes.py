"""What the awareness states that a connection sent have changed."""

from __future__ import annotations

from typing import final

from canvas_collab.protocol.awareness import Entry


@final
class ApplyResult:
    """The result of applying the states that a connection sent."""

    __slots__ = ("changes", "corrections", "refused")

    def __init__(
        self, changes: list[Entry] | None = None, corrections: list[Entry] | None = None, refused: int = 0
    ) -> None:
        #: What to broadcast.
        self.changes: list[Entry] = [] if changes is None else changes
        #: What to send to the sender before that: its clock is behind, or its client counts as having left.
        self.corrections: list[Entry] = [] if corrections is None else corrections
        #: How many clients were over the limit for one connection.
        self.refused = refused

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ApplyResult):
            return NotImplemented
        ours = self.changes, self.corrections, self.refused
        return ours == (other.changes, other.corrections, other.refused)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ApplyResult({self.changes!r}, {self.corrections!r}, {self.refused})"
