"""Follows the log: applies to the rooms in memory what other daemons and commands have appended to it.

Each append is notified, and its entries are read at once.  Besides, the log is searched for unseen entries at regular
intervals, and whenever notifications may have been missed; a search that fails is retried until it succeeds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import Cooperator
from twisted.logger import Logger

from canvas_collab.backoff import Backoff
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

#: How often the log is searched while notifications are not received, in seconds.
POLL_INTERVAL = 1.0

#: The bounds of the delays after which a failed search is retried, in seconds.
FIRST_RETRY_DELAY = 0.1
LONGEST_RETRY_DELAY = 2.0

#: How many entries, or bytes of them, are read at a time, and how many notifications are handled in one query.
READ_ENTRIES = 200
READ_BYTES = 2**18
READ_NOTIFICATIONS = 16


class LogFollower(Service):
    """Applies to rooms the log entries that others have appended."""

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        store: DocumentStore,
        log: LogReader,
        rooms: Rooms,
        snapshots: Snapshots,
        interval: float,
        retention: float,
        are_notified: Callable[[], bool],
        find_missed_resets: Callable[[], Awaitable[object]],
        cooperator: Cooperator,
    ) -> None:
        """:param interval: how often the log is searched for unseen entries, in seconds.
        :param retention: for how many seconds at least an entry stays in the log.
        :param are_notified: returns whether notifications of appends are received.
        :param find_missed_resets: discards rooms whose document was reset without a notification having arrived.
        """
        self._reactor = reactor
        self._store = store
        self._log_reader = log
        self._rooms = rooms
        self._snapshots = snapshots
        self._interval = interval
        self._retention = retention
        self._are_notified = are_notified
        self._find_missed_resets = find_missed_resets
        self._cooperator = cooperator
        self._notifications: list[AppendNotification] = []
        # Whether the log is to be searched, whether the notification of a reset may have been missed, and when the last
        # complete search began.
        self._is_search_due = False
        self._may_have_missed_resets = False
        self._searched_at: float | None = None
        self._is_working = False
        # The next search, and whether it is a retry.
        self._call: IDelayedCall | None = None
        self._has_failed = False
        self._backoff = Backoff(FIRST_RETRY_DELAY, LONGEST_RETRY_DELAY)

    def startService(self) -> None:
        """Start following."""
        Service.startService(self)
        self.catch_up()

    def stopService(self) -> None:
        """Stop after what is being read."""
        Service.stopService(self)
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def appended(self, notification: AppendNotification) -> None:
        """A notification of an append has arrived."""
        if notification.documents is None:
            concerns_rooms = bool(self._rooms.names())
        else:
            concerns_rooms = any(name in self._rooms for name in notification.documents)
        # If the last search has failed, its retry will find these entries.
        if notification.origin != self._store.origin and concerns_rooms and not self._has_failed:
            self._notifications.append(notification)
            self._wake()

    def catch_up(self) -> None:
        """Notifications may have been missed: find the resets and appends that they were about."""
        self._may_have_missed_resets = True
        self._search_soon()

    def _search_soon(self) -> None:
        self._is_search_due = True
        self._wake()

    def _wake(self) -> None:
        if self.running and not self._is_working:
            self._is_working = True
            Deferred.fromCoroutine(self._work())

    async def _work(self) -> None:
        """Search the log, and read what notifications announce, until there is nothing left to do."""
        self._has_failed = False
        try:
            while self.running and (self._is_search_due or self._notifications):
                if self._is_search_due:
                    self._is_search_due = False
                    # The entries that these announce are visible by now, so the search finds them.
                    self._notifications.clear()
                    await self._search()
                    self._schedule(self._interval if self._are_notified() else POLL_INTERVAL)
                else:
                    notifications = self._notifications[:READ_NOTIFICATIONS]
                    del self._notifications[:READ_NOTIFICATIONS]
                    await self._apply(await self._log_reader.read_appended(notifications, self._rooms.names()))
            self._backoff.reset()
        except Exception as error:
            self._is_search_due = self._has_failed = True
            delay = self._backoff.next_delay()
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
            self._call = self._reactor.callLater(delay, self._search_scheduled)

    def _search_scheduled(self) -> None:
        self._call = None
        self._search_soon()

    async def _search(self) -> None:
        """Find the unseen log entries of documents in memory, and apply them."""
        seen = self._store.seen
        began = self._reactor.seconds()
        if self._may_have_missed_resets or not self._are_notified():
            self._may_have_missed_resets = False
            # First, since nothing may be applied to a room that is to be discarded.
            try:
                await self._find_missed_resets()
            except BaseException:
                self._may_have_missed_resets = True
                raise
        if not seen.is_started:
            seen.start((await self._log_reader.find_unseen(seen.gaps(), [])).horizon)
        # Entries that were appended since the last search may have been merged and pruned.
        may_be_pruned = self._searched_at is not None and began - self._searched_at > self._retention
        while True:
            unseen = await self._log_reader.find_unseen(seen.gaps(), self._rooms.names())
            if may_be_pruned:
                for document_id in self._rooms.names():
                    await self._reload(document_id)
                may_be_pruned = False
            for ids in _pages(unseen.entries):
                await self._apply(await self._log_reader.read(ids))
            if unseen.is_complete:
                seen.advance(unseen.horizon, self._reactor.seconds())
                self._searched_at = began
                return

    async def _reload(self, document_id: str) -> None:
        """Apply the whole stored document to its room."""
        try:
            stored = await self._store.load(document_id)
        except DocumentDamaged as error:
            self.log.error("following failed", room=document_id, reason=str(error))
            return
        await self._apply_to_room(document_id, [stored.document.as_update()])

    async def _apply(self, entries: Sequence[ReadEntry]) -> None:
        by_document: dict[str, list[bytes]] = {}
        for entry in entries:
            by_document.setdefault(entry.document_id, []).append(entry.update)
        for document_id, updates in by_document.items():
            await self._apply_to_room(document_id, updates)
        for entry in entries:
            self._store.seen.add(entry.id, entry.id)

    async def _apply_to_room(self, document_id: str, updates: Iterable[bytes | Update]) -> None:
        """Apply updates to a document if it is in memory; those that are bytes are entries of its log."""
        if document_id not in self._rooms:
            return
        try:
            # Waits for a room that is being loaded: its document may have been read before the append.
            room = await self._rooms.enter(document_id)
        except Exception:
            # Loading has failed, so it is not in memory, and the next client that opens it loads it with these updates.
            return
        try:
            for update in updates:
                has_changed = await self._apply_update(room, update)
                if has_changed and isinstance(update, bytes):
                    self._snapshots.changed({document_id: len(update)})
        finally:
            if not room.is_discarded:
                self._rooms.leave(document_id)

    async def _apply_update(self, room: Room[Connection], update: bytes | Update) -> bool:
        """Apply an update to a room, and return whether the room's document lacked something of it."""
        try:
            return await run(self._cooperator, _follow(room, update))
        except Malformed as error:
            # Reading it again would fail again, so this is no reason to retry.
            reason = f"an entry of the log cannot be read: {error}"
            self.log.error("following failed", room=room.name, reason=reason)
            return False


def _follow(room: Room[Connection], update: bytes | Update) -> Steps[bool]:
    if isinstance(update, bytes):
        update = yield from read_update(update, None)
    return (yield from room.apply_replicated(update))


def _pages(entries: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
    """Yield the ids of the entries, as many at a time as are read together.

    :param entries: their ids and sizes.
    """
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
