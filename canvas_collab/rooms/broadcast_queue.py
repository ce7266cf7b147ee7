"""The updates of a room that were not sent to its connections yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from canvas_collab.document.document import Document, merge_updates
from canvas_collab.protocol.steps import Steps
from canvas_collab.protocol.update import Update, encode_update_in_steps

#: Updates are merged into one message as long as they have at most this many bytes together.
MERGED_SIZE = 2**15


@final
class BroadcastQueue:
    """The updates to be sent, encoded and decoded, and those that are still being merged into the document."""

    __slots__ = ("merging", "queue")

    def __init__(self) -> None:
        self.queue: list[tuple[bytes, Update]] = []
        self.merging: list[Update] = []

    def __bool__(self) -> bool:
        """Return whether there is an update to be sent."""
        return bool(self.queue)

    def merge_new(self, document: Document, update: Update) -> Steps[bytes | None]:
        """Merge an update into the document, in steps, and queue its new part; return that part, or None."""
        self.merging.append(update)
        try:
            new = yield from document.merge(update)
            if not new:
                return None
            data = new.encoded
            if data is None:
                data = yield from encode_update_in_steps(new.runs, new.deletions)
            self.queue.append((data, new))
            return data
        finally:
            self.merging.remove(update)

    def next(self) -> tuple[bytes, list[Update]]:
        """Remove the first update of the queue, and those behind it up to :data:`MERGED_SIZE`.

        Returns the merged update, and the updates that it was merged from.
        """
        size = len(self.queue[0][0])
        count = 1
        for data, _ in self.queue[1:]:
            size += len(data)
            if size > MERGED_SIZE:
                break
            count += 1
        first = self.queue[0][0]
        updates = [update for _, update in self.queue[:count]]
        del self.queue[:count]
        return first if count == 1 else merge_updates(updates), updates

    def received_clocks(self, document: Document, skipped: Sequence[Update]) -> dict[int, int]:
        """Return the clocks up to which a client has every struct, if it was sent everything but what is queued.

        :param skipped: updates that were removed from the queue, and not sent to this client.
        """
        clocks = document.clocks
        for update in (*skipped, *self.merging, *(update for _, update in self.queue)):
            for author, runs in update.runs.items():
                clocks[author] = min(clocks.get(author, 0), runs[0].clock)
        return clocks
