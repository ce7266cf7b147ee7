"""Documents that somebody made anew without some of what was in them: an operator's command, beside the daemon.

What is in memory of such a document is not what is stored any more, and its clients hold what was taken out.  So the
room goes as it is, and they are told to load the document afresh.
"""

from __future__ import annotations

from datetime import datetime

from twisted.logger import Logger

from canvas_collab.database.pool import Database
from canvas_collab.rooms.rooms import Rooms

_RESETS = "SELECT id, reset_at FROM yjs_document WHERE id = ANY(%s::text[]) AND reset_at IS NOT NULL"


class ResetHandler:
    """Lets rooms go whose stored document was made anew.

    What is read of a document says when it was made anew the last time before that.  These times are never compared
    with a clock, nor for which is later, only for whether they are the same.
    """

    log = Logger()

    def __init__(self, database: Database, rooms: Rooms) -> None:
        self._database = database
        self._rooms = rooms
        # When documents were made anew, if they ever were: as it was read with those in memory, and as it was found
        # of those that were on their way there.
        self._read: dict[str, datetime] = {}
        self._found: dict[str, datetime] = {}

    def loaded(self, document_id: str, reset_at: datetime | None) -> None:
        """A document was read for a room; `reset_at` is when it had been made anew the last time, if it ever was."""
        if reset_at is None:
            self._read.pop(document_id, None)
        else:
            self._read[document_id] = reset_at
        # Only once for each time that it was looked: what is read after that is not older.
        if self._found.pop(document_id, reset_at) != reset_at:
            self._rooms.discard(document_id)

    def reset(self, document_id: str) -> None:
        """A stored document was made anew."""
        room = self._rooms.discard(document_id)
        if room is None:
            return
        members = list(room.members)
        self.log.warn("document reset", room=document_id, connections=len(members))
        for member in members:
            member.reset()

    async def find_missed(self) -> None:
        """For a time nobody could be heard: look whether anything that is in memory was made anew meanwhile.

        :raises DatabaseUnavailable: if that cannot be found out now.
        """
        rows = await self._database.query(_RESETS, (self._rooms.names(),))
        names = set(self._rooms.names())
        on_their_way = names.difference(room.name for room in self._rooms.open())
        self._read = {name: reset_at for name, reset_at in self._read.items() if name in names}
        self._found = {name: reset_at for name, reset_at in rows if name in on_their_way}
        for document_id, reset_at in rows:
            if document_id not in on_their_way and self._read.get(document_id) != reset_at:
                self.reset(document_id)
