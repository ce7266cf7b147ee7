"""Edits that were published and are not known to be committed yet."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field, frozen

from canvas_collab.bus.messages import Edit


@frozen
class PublishedEdit:
    """An edit that another daemon has published; `received_at` is in seconds of a monotonic clock."""

    number: int
    edit: Edit
    received_at: float


@define
class ForeignEdits:
    """For each daemon, its edits of one room that it has not reported as committed, by their numbers.

    If it ends before it has committed them, another daemon has to, since clients there have these edits.
    """

    _edits: dict[bytes, dict[int, PublishedEdit]] = field(factory=dict)
    # For each daemon, the number up to which it has reported its edits as committed.
    _committed: dict[bytes, int] = field(factory=dict)

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self._edits)

    def add(self, origin: bytes, edit: PublishedEdit) -> None:
        """Add an edit, unless it is committed."""
        if edit.number > self._committed.get(origin, -1):
            self._edits.setdefault(origin, {})[edit.number] = edit

    def commit(self, origin: bytes, number: int) -> None:
        """Remove the edits of a daemon with numbers up to this one: they are committed."""
        self._committed[origin] = max(number, self._committed.get(origin, -1))
        edits = self._edits.get(origin, {})
        for committed in [each for each in edits if each <= number]:
            del edits[committed]
        if not edits:
            self._edits.pop(origin, None)

    def remove(self, origin: bytes, edit: PublishedEdit) -> None:
        """Remove one edit: it is in the journal of this daemon."""
        edits = self._edits.get(origin, {})
        edits.pop(edit.number, None)
        if not edits:
            self._edits.pop(origin, None)

    def received_before(self, time: float) -> Mapping[bytes, list[PublishedEdit]]:
        """Return the edits that were received before a time, for each daemon."""
        found = {
            origin: [edit for edit in edits.values() if edit.received_at < time]
            for origin, edits in self._edits.items()
        }
        return {origin: edits for origin, edits in found.items() if edits}

    def forget(self, origin: bytes) -> None:
        """Forget up to where a daemon that has stopped has committed; its edits stay."""
        self._committed.pop(origin, None)
