"""Updates that a room has, or is taking in, and that have not been sent to its connections yet."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field

from canvas_collab.document.document import Document, merge_updates
from canvas_collab.protocol.steps import Steps
from canvas_collab.protocol.update import Update, encode_update_in_steps

#: Updates are merged to one for sending as long as they have so many bytes together.
MERGED_SIZE = 2**15


@define(eq=False)
class BroadcastQueue:
    """`queue` has those that can be sent, encoded and decoded; `coming` those that are being taken in."""

    queue: list[tuple[bytes, Update]] = field(factory=list)
    coming: list[Update] = field(factory=list)

    def __bool__(self) -> bool:
        """Whether anything can be sent."""
        return bool(self.queue)

    def merge_new(self, document: Document, update: Update) -> Steps[bytes | None]:
        """Merge an update into the document, in steps, and queue what of it is new; returns that, or None."""
        self.coming.append(update)
        try:
            taken = yield from document.merge(update)
            if not taken:
                return None
            data = taken.encoded
            if data is None:
                data = yield from encode_update_in_steps(taken.runs, taken.deletions)
            self.queue.append((data, taken))
            return data
        finally:
            self.coming.remove(update)

    def next(self) -> tuple[bytes, list[Update]]:
        """Take the first of the queue out, merged with those behind it, as many as it takes no time to.

        Returns the result, and what was merged.
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

    def sent_clocks(self, document: Document, missed: Sequence[Update]) -> dict[int, int]:
        """Up to which clock of each author somebody has everything who was sent all but what waits here.

        :param missed: what was taken out of the queue, and was not sent to them.
        """
        clocks = document.clocks
        for update in (*missed, *self.coming, *(update for _, update in self.queue)):
            for author, runs in update.runs.items():
                clocks[author] = min(clocks.get(author, 0), runs[0].clock)
        return clocks
