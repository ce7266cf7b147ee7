"""Merging updates to one that is sent in their place."""

from __future__ import annotations

from collections.abc import Sequence

from canvas_collab.document.document import Document
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.structs import Run
from canvas_collab.protocol.update import Update, encode_update


def merge_updates(updates: Sequence[Update]) -> bytes:
    """Merge updates to one, and encode it."""
    merged: dict[int, list[Run]] = {}
    deletions = DeleteSet()
    for update in updates:
        for client, runs in update.runs.items():
            known = merged.get(client)
            if known is None:
                merged[client] = [*runs]
            elif runs[0].clock >= known[-1].end:
                known.extend(runs)
            else:
                # Rare: updates that arrived out of order, or more than once.
                return Document(updates).encode()
        deletions.update(update.deletions)
    return encode_update(merged, deletions)
