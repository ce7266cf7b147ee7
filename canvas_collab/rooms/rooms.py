"""The rooms in memory: each is loaded once, when its first client arrives, and unloaded after its last one has left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import define
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from canvas_collab.rooms.awareness import STALE_AFTER
from canvas_collab.rooms.connection import Connection
from canvas_collab.rooms.room import Room
from canvas_collab.timeouts import wait_at_most

#: The interval in which stale awareness states are removed, in seconds.
EXPIRY_INTERVAL = STALE_AFTER / 10

#: After a document of more than this many bytes was unloaded, freed memory is returned to the system, once nothing
#: refers to the document any more: after this many seconds.
LARGE = 2**22
RELEASE_DELAY = 2.0

#: How many seconds loading waits for the updates of a discarded room that are still in the journal.  That is more than
#: the journal's longest pause; an update that the database rejects is never committed.
LONGEST_WAIT = 3.0


@define(eq=False)
class _RoomSlot:
    """A room that is loaded or being loaded.

    :ivar occupants: how many have entered and not left, including those that wait for the room to be loaded.
    :ivar visits: how many have ever entered.
    :ivar is_unloading: whether it is being saved because the last one has left.
    :ivar is_outdated: whether the document was reset while it was being loaded.
    :ivar waiting: those that wait for the room to be loaded, if it is.
    """

    occupants: int = 0
    visits: int = 0
    room: Room[Connection] | None = None
    is_unloading: bool = False
    is_outdated: bool = False
    waiting: list[Deferred[Room[Connection]]] | None = None


class Rooms(Service):
    """Loads and unloads rooms."""

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        load: Callable[[str], Awaitable[Room[Connection]]],
        save: Callable[[str], Awaitable[None]],
        release_memory: Callable[[], object] = lambda: None,
        when_committed: Callable[[str], Awaitable[None]] = lambda name: succeed(None),
    ) -> None:
        """:param load: loads the room of that name from the database.
        :param save: returns when all updates of the room are committed, and its snapshot is written.
        :param release_memory: called some time after a large document was unloaded.
        :param when_committed: returns when all updates of the room that are in the journal now are committed.
        """
        self._load = load
        self._save = save
        self._reactor = reactor
        self._release_memory = release_memory
        self._when_committed = when_committed
        self._is_release_scheduled = False
        # For each room that was discarded and not loaded again, what fires when its updates are committed.
        self._discarded: dict[str, Deferred[None]] = {}
        self._slots: dict[str, _RoomSlot] = {}
        self._expiry = LoopingCall(self._expire)
        self._expiry.clock = reactor

    def __len__(self) -> int:
        """Return how many rooms are loaded."""
        return sum(slot.room is not None for slot in self._slots.values())

    def __contains__(self, name: str) -> bool:
        """Return whether a room is loaded or being loaded."""
        return name in self._slots

    def names(self) -> list[str]:
        """Return the names of the rooms that are loaded or being loaded."""
        return list(self._slots)

    def startService(self) -> None:
        """Start to expire awareness states."""
        Service.startService(self)
        self._expiry.start(EXPIRY_INTERVAL, now=False)

    def stopService(self) -> None:
        """Close all rooms without saving them; the shutdown flush does that."""
        Service.stopService(self)
        self._expiry.stop()
        for slot in self._slots.values():
            if slot.room is not None:
                slot.room.close()

    async def enter(self, name: str) -> Room[Connection]:
        """Return a room, loading it if necessary, and keep it in memory until :meth:`leave` is called.

        :raises Exception: if loading fails; then :meth:`leave` must not be called.
        """
        slot = self._slots.setdefault(name, _RoomSlot())
        slot.occupants += 1
        slot.visits += 1
        try:
            return slot.room or await self._load_once(name, slot)
        except BaseException:
            slot.occupants -= 1
            if not slot.occupants and self._slots.get(name) is slot:
                del self._slots[name]
            raise

    def leave(self, name: str) -> None:
        """Leave a room; after the last one has left it is saved and unloaded."""
        slot = self._slots[name]
        slot.occupants -= 1
        if not slot.occupants and not slot.is_unloading:
            Deferred.fromCoroutine(self._unload(name, slot))

    def loaded_rooms(self) -> list[Room[Connection]]:
        """Return the rooms that are loaded."""
        return [slot.room for slot in self._slots.values() if slot.room is not None]

    def discard(self, name: str) -> Room[Connection] | None:
        """Unload a room without saving it, and return it; it is loaded anew when it is entered the next time.

        The caller has to close its connections; they must not call :meth:`leave`.
        """
        slot = self._slots.get(name)
        if slot is None:
            return None
        slot.is_outdated = True
        if slot.room is not None:
            del self._slots[name]
            slot.room.is_discarded = True
            slot.room.close()
            committed = self._discarded[name] = Deferred.fromCoroutine(self._commit(name, slot.room.when_merged()))
            committed.addBoth(lambda _: self._forget(name, committed))
        return slot.room

    async def _commit(self, name: str, merged: Deferred[None]) -> None:
        """Return when all updates of a discarded room are committed.  Has no reference to the room meanwhile."""
        await merged
        await self._when_committed(name)

    def _forget(self, name: str, committed: Deferred[None]) -> None:
        # Another room of the same name may have been discarded meanwhile.
        if self._discarded.get(name) is committed:
            del self._discarded[name]

    async def _load_committed(self, name: str) -> Room[Connection]:
        """Load a room, after the updates from before it was discarded are committed.

        Replication skips what this daemon has appended itself, so the new room would lack what is committed later.
        """
        if name in self._discarded:
            await wait_at_most(self._reactor, self._discarded[name], LONGEST_WAIT, None)
        room = await self._load(name)
        # Updates that were not committed in time are not waited for again.
        self._discarded.pop(name, None)
        return room

    async def _load_once(self, name: str, slot: _RoomSlot) -> Room[Connection]:
        if slot.waiting is not None:
            loaded: Deferred[Room[Connection]] = Deferred()
            slot.waiting.append(loaded)
            return await loaded
        slot.waiting = []
        try:
            room = await self._load_committed(name)
            while slot.is_outdated:
                slot.is_outdated = False
                room = await self._load_committed(name)
            slot.room = room
        except BaseException:
            waiting, slot.waiting = slot.waiting, None
            for loaded in waiting:
                loaded.errback(Failure())
            raise
        waiting, slot.waiting = slot.waiting, None
        for loaded in waiting:
            loaded.callback(slot.room)
        return slot.room

    async def _unload(self, name: str, slot: _RoomSlot) -> None:
        slot.is_unloading = True
        visits = -1
        # If the room was entered and left meanwhile, it is saved again.
        while visits != slot.visits and not slot.occupants:
            visits = slot.visits
            if slot.room is not None:
                await slot.room.when_merged()
            try:
                await self._save(name)
            except Exception as error:
                # Nothing is lost: the log has all updates, and loading reads it.
                self.log.error("snapshot failed", room=name, reason=str(error))
        slot.is_unloading = False
        if not slot.occupants and slot.room is not None and self._slots.get(name) is slot:
            slot.room.close()
            del self._slots[name]
            if slot.room.document.weight > LARGE and not self._is_release_scheduled:
                self._is_release_scheduled = True
                self._reactor.callLater(RELEASE_DELAY, self._release)
            self.log.debug("room unloaded", room=name)

    def _release(self) -> None:
        self._is_release_scheduled = False
        self._release_memory()

    def _expire(self) -> None:
        for slot in self._slots.values():
            if slot.room is not None:
                slot.room.expire()
