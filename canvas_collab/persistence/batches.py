"""The journal's batches: how many queued entries go into one commit."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define

from canvas_collab.persistence.store import LogEntry

#: The limits of one commit; a single entry may be larger.  Making and sending a statement of this size blocks the
#: reactor for a few milliseconds.
BATCH_ENTRIES = 1000
BATCH_BYTES = 2**19

#: The memory that a queued entry takes besides its update, in bytes, with the callbacks that wait for its commit.
ENTRY_OVERHEAD = 512


@define(eq=False)
class QueuedEntry:
    """A log entry, and its position among all entries that were ever queued."""

    position: int
    entry: LogEntry


def next_batch(entries: Sequence[QueuedEntry], limit: int) -> list[QueuedEntry]:
    """Return the first of `entries` that fit into one commit, at most `limit`."""
    size = 0
    batch: list[QueuedEntry] = []
    for queued in entries[: min(limit, BATCH_ENTRIES)]:
        size += len(queued.entry.update)
        if batch and size > BATCH_BYTES:
            break
        batch.append(queued)
    return batch


def bytes_by_document(batch: Sequence[QueuedEntry]) -> dict[str, int]:
    """Return how many bytes of updates the batch has of each document."""
    sizes: dict[str, int] = {}
    for queued in batch:
        entry = queued.entry
        sizes[entry.document_id] = sizes.get(entry.document_id, 0) + len(entry.update)
    return sizes
