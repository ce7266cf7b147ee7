"""Others who edit the same documents past this daemon: a second daemon on the database, or an operator's command.

What they put into the log is taken into the rooms that are in memory here, and everybody in those follows.  Who adds
something says so, and that is followed at once.  From time to time, and whenever something may have gone unheard, it is
looked whether the log has anything that was not seen; that is tried until it succeeds.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import Cooperator
from twisted.logger import Logger

from canvas_collab.document.folding import DocumentDamaged
from canvas_collab.persistence.snapshots import Snapshots
from canvas_collab.persistence.store import DocumentStore
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.steps import Steps
from canvas_collab.protocol.update import Update, read_update
from canvas_collab.replication.log_reader import LogReader, ReadEntry
from canvas_collab.replication.notifications import AppendNotification
from canvas_collab.rooms.connection import Connection
from canvas_collab.rooms.room import Room
from canvas_collab.rooms.rooms import Rooms
from canvas_collab.scheduling import run

#: While additions are not heard of, the log is looked at so often, in seconds.
POLL_INTERVAL = 1.0

#: After looking has failed, the next try follows after about the first of these, doubled each time up to the second.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0

#: So many entries, or bytes of them, are read at a time, and so many additions are asked for together.
READ_ENTRIES = 200
READ_BYTES = 2**18
READ_ADDITIONS = 16


class LogFollower(Service):
    """Takes over what others have added."""

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        store: DocumentStore,
        log: LogReader,
        rooms: Rooms,
        snapshots: Snapshots,
        interval: float,
        longest_gap: float,
        hears: Callable[[], bool],
        look_for_resets: Callable[[], Awaitable[object]],
        cooperator: Cooperator,
    ) -> None:
        """:param interval: how often it is looked for what was missed, in seconds.
        :param longest_gap: for how many seconds nothing goes from the log once it has come.
        :param hears: whether additions are heard of.
        :param look_for_resets: lets rooms go whose stored document was made anew.
        """
        self._reactor = reactor
        self._store = store
        self._log_reader = log
        self._rooms = rooms
        self._snapshots = snapshots
        self._interval = interval
        self._longest_gap = longest_gap
        self._hears = hears
        self._look_for_resets = look_for_resets
        self._was_deaf = False
        self._cooperator = cooperator
        self._heard: list[AppendNotification] = []
        # Whether the log is to be looked at, and when that was done last.
        self._is_due = False
        self._looked: float | None = None
        self._is_working = False
        # The next look, and whether that is one more try.
        self._call: IDelayedCall | None = None
        self._failed = False
        self._pause = FIRST_PAUSE

    def startService(self) -> None:
        """Begin to look."""
        Service.startService(self)
        self.catch_up()

    def stopService(self) -> None:
        """Stop after what is being read."""
        Service.stopService(self)
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def appended(self, addition: AppendNotification) -> None:
        """Somebody has added entries to the log."""
        # Where a look has failed, the next one will find these.
        if addition.origin != self._store.origin and self._rooms.names() and not self._failed:
            self._heard.append(addition)
            self._wake()

    def catch_up(self) -> None:
        """For a time nobody could be heard: look at everything that is in memory."""
        self._was_deaf = True
        self._look_soon()

    def _look_soon(self) -> None:
        self._is_due = True
        self._wake()

    def _wake(self) -> None:
        if self.running and not self._is_working:
            self._is_working = True
            Deferred.fromCoroutine(self._work())

    async def _work(self) -> None:
        """Follow until there is nothing to be followed."""
        self._failed = False
        try:
            while self.running and (self._is_due or self._heard):
                if self._is_due:
                    self._is_due = False
                    # What those say can be seen by now.
                    self._heard.clear()
                    await self._look()
                    self._schedule(self._interval if self._hears() else POLL_INTERVAL)
                else:
                    additions = self._heard[:READ_ADDITIONS]
                    del self._heard[:READ_ADDITIONS]
                    await self._take(await self._log_reader.added(additions, self._rooms.names()))
            self._pause = FIRST_PAUSE
        except Exception as error:
            self._is_due = self._failed = True
            delay = self._pause * random.uniform(0.5, 1.0)
            self._pause = min(self._pause * 2, LONGEST_PAUSE)
            self._schedule(delay)
            if self.running:
                self.log.error("following failed", reason=" ".join(str(error).split()), retry_in=delay)
        finally:
            self._is_working = False

    def _schedule(self, delay: float) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if self.running:
            self._call = self._reactor.callLater(delay, self._look_again)

    def _look_again(self) -> None:
        self._call = None
        self._look_soon()

    async def _look(self) -> None:
        """Look whether the log has entries of documents in memory that were not seen, and take them over."""
        seen = self._store.seen
        began = self._reactor.seconds()
        if self._was_deaf or not self._hears():
            self._was_deaf = False
            # Before anything is taken into a room that is to go.
            try:
                await self._look_for_resets()
            except BaseException:
                # What may have been missed still may have, and the next try looks for it.
                self._was_deaf = True
                raise
        if not seen.has_begun:
            seen.begin((await self._log_reader.missing(seen.gaps(), [])).mark)
        # What was missed may be in the snapshots alone by now.
        may_have_gone = self._looked is not None and began - self._looked > self._longest_gap
        while True:
            missing = await self._log_reader.missing(seen.gaps(), self._rooms.names())
            if may_have_gone:
                for document_id in self._rooms.names():
                    await self._reload(document_id)
                may_have_gone = False
            for ids in _pages(missing.entries):
                await self._take(await self._log_reader.read(ids))
            if missing.is_all:
                seen.settle(missing.mark, self._reactor.seconds())
                self._looked = began
                return

    async def _reload(self, document_id: str) -> None:
        try:
            stored = await self._store.load(document_id)
        except DocumentDamaged as error:
            self.log.error("following failed", room=document_id, reason=str(error))
            return
        await self._follow(document_id, [stored.document.as_update()])

    async def _take(self, entries: Sequence[ReadEntry]) -> None:
        by_document: dict[str, list[bytes]] = {}
        for entry in entries:
            by_document.setdefault(entry.document_id, []).append(entry.update)
        for document_id, updates in by_document.items():
            await self._follow(document_id, updates)
        for entry in entries:
            self._store.seen.add(entry.id, entry.id)

    async def _follow(self, document_id: str, updates: Iterable[bytes | Update]) -> None:
        """Take updates of a document over, if it is in memory; bytes are entries of its log."""
        if document_id not in self._rooms:
            return
        try:
            # One that is being loaded may have been read before the addition, so this waits for it.
            room = await self._rooms.enter(document_id)
        except Exception:
            # It could not be loaded, and is not in memory: whoever opens it reads all of it, or is told why not.
            return
        try:
            for update in updates:
                is_news = await self._has_news(room, update)
                if is_news and isinstance(update, bytes):
                    self._snapshots.changed({document_id: len(update)})
        finally:
            if not room.is_discarded:
                self._rooms.leave(document_id)

    async def _has_news(self, room: Room[Connection], update: bytes | Update) -> bool:
        try:
            return await run(self._cooperator, _follow(room, update))
        except Malformed as error:
            # It stays so. Whoever opens the document is told.
            reason = f"an entry of the log cannot be read: {error}"
            self.log.error("following failed", room=room.name, reason=reason)
            return False


def _follow(room: Room[Connection], update: bytes | Update) -> Steps[bool]:
    if isinstance(update, bytes):
        update = yield from read_update(update, None)
    return (yield from room.follow(update))


def _pages(entries: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
    """Ids, as many at a time as are read together; takes ids and sizes."""
    page: list[int] = []
    total = 0
    for row_id, size in entries:
        if page and (len(page) == READ_ENTRIES or total + size > READ_BYTES):
            yield page
            page, total = [], 0
        page.append(row_id)
        total += size
    if page:
        yield page
