"""Documents that somebody made anew without some of what was in them: an operator's command, beside the daemon.

What is in memory of such a document is not what is stored any more, and its clients hold what was taken out.  So the
room goes as it is, and they are told to load the document afresh.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from canvas_collab.database.pool import Database
from canvas_collab.rooms.rooms import Rooms

#: What was made anew is visible a moment later than it says, in seconds.
MARGIN = 1.0

_SINCE_RESET = """
    SELECT id, extract(epoch FROM clock_timestamp() - reset_at)::float8
      FROM yjs_document WHERE id = ANY(%s::text[]) AND reset_at IS NOT NULL
"""


class Resets:
    """Lets rooms go whose stored document was made anew."""

    log = Logger()

    def __init__(self, reactor: IReactorTime, database: Database, rooms: Rooms) -> None:
        self._reactor = reactor
        self._database = database
        self._rooms = rooms

    def reset(self, document_id: str) -> None:
        """A stored document was made anew."""
        room = self._rooms.discard(document_id)
        if room is None:
            return
        members = list(room.members)
        self.log.warn("document reset", room=document_id, connections=len(members))
        for member in members:
            member.reset()

    async def missed(self) -> None:
        """For a time nobody could be heard: look whether anything that is in memory was made anew meanwhile.

        :raises DatabaseUnavailable: if that cannot be found out now.
        """
        rows = await self._database.query(_SINCE_RESET, (self._rooms.names(),))
        # Two clocks are never compared, only how long ago things were; in doubt there is one reset too many.
        now = self._reactor.seconds()
        ages = {room.name: now - room.loaded for room in self._rooms.open()}
        for document_id, since_reset in rows:
            if since_reset <= ages.get(document_id, 0) + MARGIN:
                self.reset(document_id)
