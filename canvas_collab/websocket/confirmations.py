"""Confirming edits to clients that show whether theirs have arrived, as y-websocket from version 4 on does.

Such a client takes an edit for synced when an update comes back that has the edit's ids, whatever else it says of them.
So once they are on disk it is sent the ids alone: insertions as garbage-collected stretches, which change nothing for
who has the real ones, and deletions as they are.  For who has not integrated the real ones they would take their place;
hence only ids are confirmed that the client has sent as its own edits, or that its state vector names.

Versions before 4 have no use for that.  They are told apart by the id that they show themselves by when they connect:
Yjs 14, which version 4 needs, draws 53 bits for one, and Yjs 13 draws 32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from canvas_collab.protocol import sync
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.lib0 import encode_var_uint
from canvas_collab.protocol.struct_info import GC
from canvas_collab.protocol.structs import Run
from canvas_collab.protocol.update import Update, encode_update
from canvas_collab.rooms.commits import Commits
from canvas_collab.rooms.prepared_message import PreparedMessage

#: No document of Yjs 13's has a higher id, and of Yjs 14's one in two million has a lower one.
HIGHEST_OF_YJS_13 = 2**32 - 1

#: So many stretches may wait to be confirmed.  What is more the client goes on taking for not synced, until it
#: reconnects.
MAX_RANGES = 1000


class Confirmations:
    """What one connection is to be told of its edits: one message for all that a commit brings."""

    __slots__ = (
        "_committing",
        "_deletions",
        "_document_id",
        "_insertions",
        "_is_unsent",
        "_journal",
        "_offer",
        "_stretches",
    )

    def __init__(self, journal: Commits, document_id: str, offer: Callable[[PreparedMessage], bool]) -> None:
        """:param offer: sends a message, unless the client does not read; returns False if it was not sent."""
        self._journal = journal
        self._document_id = document_id
        self._offer = offer
        # What has come in since the last message was made.
        self._insertions = DeleteSet()
        self._deletions = DeleteSet()
        self._stretches = 0
        # The message that waits for a commit, or for a client that reads.
        self._committing: PreparedMessage | None = None
        self._is_unsent = False

    def add(self, update: Update) -> None:
        """The client has made an edit, which is on its way to disk."""
        count = sum(map(len, update.runs.values())) + sum(len(ranges) for _, ranges in update.deletions.items())
        if self._has_room_for(count):
            for author, runs in update.runs.items():
                for run in runs:
                    self._insertions.add(author, run.clock, run.end)
            self._deletions.update(update.deletions)
            self._wait()

    def add_common(self, theirs: Mapping[int, int], ours: Mapping[int, int]) -> None:
        """The client has everything up to these clocks of their authors, and the document up to those."""
        common = {author: min(clock, ours.get(author, 0)) for author, clock in theirs.items()}
        if self._has_room_for(len(common)):
            for author, clock in common.items():
                if clock:
                    self._insertions.add(author, 0, clock)
            self._wait()

    def backpressure_ended(self) -> None:
        """The client reads again."""
        if self._is_unsent:
            self._committed()

    def _has_room_for(self, stretches: int) -> bool:
        has_room = self._stretches + stretches <= MAX_RANGES
        if has_room:
            self._stretches += stretches
        return has_room

    def _wait(self) -> None:
        if self._committing is None and (self._insertions or self._deletions):
            self._committing = PreparedMessage(sync.encode_update(encode_ids(self._insertions, self._deletions)))
            self._insertions, self._deletions, self._stretches = DeleteSet(), DeleteSet(), 0
            self._journal.after_commit(self._document_id, self._committed)

    def _committed(self) -> None:
        assert self._committing is not None, "there is one as long as this waits"
        self._is_unsent = not self._offer(self._committing)
        if not self._is_unsent:
            self._committing = None
            self._wait()


def encode_ids(insertions: DeleteSet, deletions: DeleteSet) -> bytes:
    """An update of these ids that brings nothing to who has them."""
    runs = {
        author: [Run(start, end, 1, bytes((GC,)) + encode_var_uint(end - start)) for start, end in ranges]
        for author, ranges in insertions.items()
    }
    return encode_update(runs, deletions)
