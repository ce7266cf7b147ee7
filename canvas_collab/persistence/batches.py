"""What the journal's commits are made of: entries in their order, as many as go well together."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define

from canvas_collab.persistence.store import LogEntry

#: One commit takes at most so many entries, and so many bytes unless a single entry is larger.  Making and sending a
#: statement of so many keeps the reactor for a few milliseconds.
BATCH_ENTRIES = 1000
BATCH_BYTES = 2**19

#: What an entry that waits takes beside its update, in bytes: the objects around it, and whoever waits for it.
ENTRY_OVERHEAD = 512


@define(eq=False)
class Queued:
    """An entry, and where it stands among all that were ever queued."""

    position: int
    entry: LogEntry

    @property
    def size(self) -> int:
        """How many bytes it takes while it waits."""
        return len(self.entry.update) + ENTRY_OVERHEAD


def next_batch(entries: Sequence[Queued], most: int) -> list[Queued]:
    """The first of these that make one commit, at most so many."""
    size = 0
    batch: list[Queued] = []
    for queued in entries[: min(most, BATCH_ENTRIES)]:
        size += len(queued.entry.update)
        if batch and size > BATCH_BYTES:
            break
        batch.append(queued)
    return batch


def sizes_of(batch: Sequence[Queued]) -> dict[str, int]:
    """How many bytes of updates there are of each document."""
    sizes: dict[str, int] = {}
    for queued in batch:
        entry = queued.entry
        sizes[entry.document_id] = sizes.get(entry.document_id, 0) + len(entry.update)
    return sizes
