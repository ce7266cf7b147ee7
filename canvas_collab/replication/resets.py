"""Discards rooms whose stored document was reset: replaced, by an operator's command, by one with less content.

The document in the room's memory is then no longer the stored one, and the clients still have the content that was
removed.  So the room is discarded without being saved, and its clients are told to reload the document.
"""

from __future__ import annotations

from datetime import datetime

from twisted.logger import Logger

from canvas_collab.database.pool import Database
from canvas_collab.database.tables import Tables
from canvas_collab.rooms.rooms import Rooms

_RESETS = "SELECT id, reset_at FROM {documents} WHERE id = ANY(%s::text[]) AND reset_at IS NOT NULL"


class ResetHandler:
    """Discards rooms when it is notified of a reset, or finds one that it was not notified of.

    A stored document has the time of its last reset.  These times are compared only for equality, never with a clock,
    nor for which is later.
    """

    log = Logger()

    def __init__(self, database: Database, tables: Tables, rooms: Rooms) -> None:
        self._database = database
        self._resets = tables.fill(_RESETS)
        self._rooms = rooms
        # The times of the last resets, by document, without those that were never reset: as read with the document of a
        # room, and as found by `find_missed` for a room that was being loaded.
        self._loaded: dict[str, datetime] = {}
        self._found: dict[str, datetime] = {}

    def loaded(self, document_id: str, reset_at: datetime | None) -> None:
        """A document was read for a room.

        :param reset_at: the time of its last reset that was read with it, or None.
        """
        if reset_at is None:
            self._loaded.pop(document_id, None)
        else:
            self._loaded[document_id] = reset_at
        # Compared once only: a room that is loaded again is read after this reset, and may be read after a later one.
        if self._found.pop(document_id, reset_at) != reset_at:
            self._rooms.discard(document_id)

    def reset(self, document_id: str) -> None:
        """A stored document was reset: discard its room, and close the room's connections."""
        room = self._rooms.discard(document_id)
        if room is None:
            return
        members = list(room.members)
        self.log.warn("document reset", room=document_id, connections=len(members))
        for member in members:
            member.reset()

    async def find_missed(self) -> None:
        """Find resets of documents in memory whose notifications may have been missed.

        :raises DatabaseUnavailable: if that cannot be found out now.
        """
        rows = await self._database.query(self._resets, (self._rooms.names(),))
        names = set(self._rooms.names())
        loading = names.difference(room.name for room in self._rooms.loaded_rooms())
        self._loaded = {name: reset_at for name, reset_at in self._loaded.items() if name in names}
        self._found = {name: reset_at for name, reset_at in rows if name in loading}
        for document_id, reset_at in rows:
            if document_id not in loading and self._loaded.get(document_id) != reset_at:
                self.reset(document_id)
