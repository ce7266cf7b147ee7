"""Confirming edits to clients of y-websocket 4 and later, which show whether their edits have arrived.

Such a client considers an edit synced when it receives an update with the edit's ids, whatever its content.  So once an
edit is on disk, its author is sent an update with only the ids: insertions as GC structs, which change nothing in a
document that has the real structs, and deletions as they are.  In a document without the real structs the GC structs
would take their place, so only ids are confirmed that the client has sent as its own edits, or that its state vector
covers.

Older versions do not use confirmations.  They are distinguished by the client id in their first awareness update:
Yjs 14, which version 4 requires, generates client ids of 53 bits, and Yjs 13 of 32 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import final

from canvas_collab.protocol import sync
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.lib0 import encode_var_uint
from canvas_collab.protocol.struct_info import GC
from canvas_collab.protocol.structs import Run
from canvas_collab.protocol.update import Update, encode_update
from canvas_collab.rooms.commits import Commits
from canvas_collab.rooms.prepared_message import PreparedMessage

#: The highest client id of Yjs 13. One in two million client ids of Yjs 14 is not higher.
MAX_YJS_13_CLIENT_ID = 2**32 - 1

#: How many ranges of ids may wait to be confirmed. The client considers what exceeds this unsynced until it reconnects.
MAX_RANGES = 1000


@final
class Confirmations:
    """Sends one connection the confirmations of its edits: one message for all ids that a commit covers."""

    __slots__ = (
        "_committing",
        "_deletions",
        "_document_id",
        "_insertions",
        "_is_unsent",
        "_journal",
        "_offer",
        "_range_count",
    )

    def __init__(self, journal: Commits, document_id: str, offer: Callable[[PreparedMessage], bool]) -> None:
        """:param offer: sends a message, unless the client does not read; returns False if it was not sent."""
        self._journal = journal
        self._document_id = document_id
        self._offer = offer
        # The ids that were added since the last message was made.
        self._insertions = DeleteSet()
        self._deletions = DeleteSet()
        self._range_count = 0
        # The message that waits for a commit or, if it is unsent, for the client to read again.
        self._committing: PreparedMessage | None = None
        self._is_unsent = False

    def add(self, update: Update) -> None:
        """Confirm an edit of the client's, which is queued in the journal."""
        count = sum(map(len, update.runs.values())) + sum(len(ranges) for _, ranges in update.deletions.items())
        if self._reserve(count):
            for author, runs in update.runs.items():
                for run in runs:
                    self._insertions.add(author, run.clock, run.end)
            self._deletions.update(update.deletions)
            self._await_commit()

    def add_common(self, client_clocks: Mapping[int, int], document_clocks: Mapping[int, int]) -> None:
        """Confirm everything that both the client and the document have, given the clocks of each."""
        common = {author: min(clock, document_clocks.get(author, 0)) for author, clock in client_clocks.items()}
        if self._reserve(len(common)):
            for author, clock in common.items():
                if clock:
                    self._insertions.add(author, 0, clock)
            self._await_commit()

    def backpressure_ended(self) -> None:
        """Called when the client reads again."""
        if self._is_unsent:
            self._committed()

    def _reserve(self, count: int) -> bool:
        """Count `count` more ranges, unless they would exceed the limit."""
        is_allowed = self._range_count + count <= MAX_RANGES
        if is_allowed:
            self._range_count += count
        return is_allowed

    def _await_commit(self) -> None:
        if self._committing is None and (self._insertions or self._deletions):
            self._committing = PreparedMessage(sync.encode_update(encode_ids(self._insertions, self._deletions)))
            self._insertions, self._deletions, self._range_count = DeleteSet(), DeleteSet(), 0
            self._journal.after_commit(self._document_id, self._committed)

    def _committed(self) -> None:
        assert self._committing is not None, "a message waits for this commit"
        self._is_unsent = not self._offer(self._committing)
        if not self._is_unsent:
            self._committing = None
            self._await_commit()


def encode_ids(insertions: DeleteSet, deletions: DeleteSet) -> bytes:
    """Encode an update of these ids, which changes nothing in a document that has them."""
    runs = {
        author: [Run(start, end, 1, bytes((GC,)) + encode_var_uint(end - start)) for start, end in ranges]
        for author, ranges in insertions.items()
    }
    return encode_update(runs, deletions)
