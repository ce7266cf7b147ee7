"""Others who edit the same documents past this daemon: a second daemon on the database, or an operator's command.

What they put into the log is taken into the rooms that are in memory here, and everybody in those follows.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from canvas_collab.persistence.notifications import Addition
from canvas_collab.persistence.snapshots import Snapshots
from canvas_collab.persistence.store import DocumentStore
from canvas_collab.protocol.update import decode_update
from canvas_collab.rooms.rooms import Rooms


class Neighbours:
    """Takes over what others have added."""

    log = Logger()

    def __init__(self, store: DocumentStore, rooms: Rooms, snapshots: Snapshots) -> None:
        self._store = store
        self._rooms = rooms
        self._snapshots = snapshots

    def added(self, addition: Addition) -> None:
        """Somebody has added entries to the log."""
        if addition.origin != self._store.origin and self._rooms.names():
            self._start(None, self._fetch(addition))

    def missed(self) -> None:
        """For a time nobody could be heard: look at everything that is in memory."""
        for document_id in self._rooms.names():
            self._start(document_id, self._reload(document_id))

    def _start(self, document_id: str | None, work: Coroutine[Deferred[Any], Any, None]) -> None:
        following = Deferred.fromCoroutine(work)
        following.addErrback(
            lambda failure: self.log.error("following failed", room=document_id, reason=failure.getErrorMessage())
        )

    async def _fetch(self, addition: Addition) -> None:
        for document_id, updates in (await self._store.added(addition, self._rooms.names())).items():
            self._start(document_id, self._take(document_id, updates))

    async def _reload(self, document_id: str) -> None:
        stored = await self._store.load(document_id)
        await self._take(document_id, [stored.document.encode()])

    async def _take(self, document_id: str, updates: Iterable[bytes]) -> None:
        if document_id not in self._rooms:
            return
        # One that is being loaded may have been read before the addition, so this waits for it.
        room = await self._rooms.enter(document_id)
        try:
            for data in updates:
                if room.follow(decode_update(data)):
                    self._snapshots.changed({document_id: len(data)})
        finally:
            if not room.is_discarded:
                self._rooms.leave(document_id)
