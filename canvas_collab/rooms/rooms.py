"""The rooms that are in memory: loaded once however many clients arrive together, gone when the last one has left."""

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

#: How often stale awareness states are looked for, in seconds.
EXPIRY_INTERVAL = STALE_AFTER / 10

#: A document that takes so many bytes is large; so many seconds after it has left memory nothing holds it any more.
LARGE = 2**22
AFTER_LARGE = 2.0

#: After a room was discarded, loading waits for what is on its way to disk from it for so many seconds at most. That
#: is more than the journal's longest pause; an update that the database refuses may never get there.
LONGEST_WAIT = 3.0


@define(eq=False)
class _RoomSlot:
    """A room, or the wait for it, how many are in it or on their way, and how many have ever entered."""

    occupants: int = 0
    visits: int = 0
    room: Room[Connection] | None = None
    is_outdated: bool = False
    waiting: list[Deferred[Room[Connection]]] | None = None


class Rooms(Service):
    """Loads rooms and lets them go."""

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        load: Callable[[str], Awaitable[Room[Connection]]],
        save: Callable[[str], Awaitable[None]],
        after_large: Callable[[], object] = lambda: None,
        when_committed: Callable[[str], Awaitable[None]] = lambda name: succeed(None),
    ) -> None:
        """:param load: makes the room of that name from what is stored.
        :param save: returns when everything of that room is on disk.
        :param after_large: is called some time after a large document has left memory.
        :param when_committed: returns when what was edited in that room until now can be loaded.
        """
        self._load = load
        self._save = save
        self._reactor = reactor
        self._call_after_large = after_large
        self._when_committed = when_committed
        self._gone_large = False
        # What fires when everything of a room that was discarded can be loaded, until it is loaded anew.
        self._discarded: dict[str, Deferred[None]] = {}
        self._slots: dict[str, _RoomSlot] = {}
        self._expiry = LoopingCall(self._expire)
        self._expiry.clock = reactor

    def __len__(self) -> int:
        return sum(slot.room is not None for slot in self._slots.values())

    def __contains__(self, name: str) -> bool:
        return name in self._slots

    def names(self) -> list[str]:
        """The names of the rooms that are in memory, or on their way there."""
        return list(self._slots)

    def startService(self) -> None:
        """Begin to expire awareness states."""
        Service.startService(self)
        self._expiry.start(EXPIRY_INTERVAL, now=False)

    def stopService(self) -> None:
        """Let every room go as it is; what is to be saved has been."""
        Service.stopService(self)
        self._expiry.stop()
        for slot in self._slots.values():
            if slot.room is not None:
                slot.room.close()

    async def enter(self, name: str) -> Room[Connection]:
        """The room of that name, loaded if need be.  Each entering is ended with :meth:`leave`.

        :raises Exception: whatever loading raised; nobody has entered then.
        """
        slot = self._slots.setdefault(name, _RoomSlot())
        slot.occupants += 1
        slot.visits += 1
        try:
            return slot.room or await self._loaded(name, slot)
        except BaseException:
            slot.occupants -= 1
            if not slot.occupants and self._slots.get(name) is slot:
                del self._slots[name]
            raise

    def leave(self, name: str) -> None:
        """Somebody who had entered has left; after the last one the room is saved and goes."""
        slot = self._slots[name]
        slot.occupants -= 1
        if not slot.occupants:
            Deferred.fromCoroutine(self._unload(name, slot))

    def open(self) -> list[Room[Connection]]:
        """The rooms that are in memory."""
        return [slot.room for slot in self._slots.values() if slot.room is not None]

    def discard(self, name: str) -> Room[Connection] | None:
        """Let a room go as it is, and return it; who enters from now on has it loaded anew, with what it kept last.

        Those who are in it are to go, and do not :meth:`leave`.
        """
        slot = self._slots.get(name)
        if slot is None:
            return None
        slot.is_outdated = True
        if slot.room is not None:
            del self._slots[name]
            slot.room.is_discarded = True
            slot.room.close()
            settling = self._discarded[name] = Deferred.fromCoroutine(self._settle(name, slot.room.when_merged()))
            settling.addBoth(lambda _: self._forget(name, settling))
        return slot.room

    async def _settle(self, name: str, taken_in: Deferred[None]) -> None:
        """Returns when everything of a room can be loaded; holds nothing of it meanwhile."""
        await taken_in
        await self._when_committed(name)

    def _forget(self, name: str, settling: Deferred[None]) -> None:
        # Another room of that name may have been discarded since.
        if self._discarded.get(name) is settling:
            del self._discarded[name]

    async def _load_anew(self, name: str) -> Room[Connection]:
        """Load a room, with what was edited in it before it was discarded.

        This daemon does not follow its own edits, so what is committed after loading would be in no room.
        """
        if name in self._discarded:
            await wait_at_most(self._reactor, self._discarded[name], LONGEST_WAIT, None)
        room = await self._load(name)
        # Nobody waits once more for what did not get there in time.
        self._discarded.pop(name, None)
        return room

    async def _loaded(self, name: str, slot: _RoomSlot) -> Room[Connection]:
        if slot.waiting is not None:
            arrival: Deferred[Room[Connection]] = Deferred()
            slot.waiting.append(arrival)
            return await arrival
        slot.waiting = []
        try:
            room = await self._load_anew(name)
            while slot.is_outdated:
                slot.is_outdated = False
                room = await self._load_anew(name)
            slot.room = room
        except BaseException:
            waiting, slot.waiting = slot.waiting, None
            for arrival in waiting:
                arrival.errback(Failure())
            raise
        waiting, slot.waiting = slot.waiting, None
        for arrival in waiting:
            arrival.callback(slot.room)
        return slot.room

    async def _unload(self, name: str, slot: _RoomSlot) -> None:
        visits = slot.visits
        if slot.room is not None:
            await slot.room.when_merged()
        try:
            await self._save(name)
        except Exception as error:
            # It is all in the log, so the room may go; loading it again reads the log.
            self.log.error("snapshot failed", room=name, reason=str(error))
        # What somebody has edited who came and left in the meantime, their own leaving saves.
        if visits == slot.visits and slot.room is not None and self._slots.get(name) is slot:
            slot.room.close()
            del self._slots[name]
            if slot.room.document.weight > LARGE and not self._gone_large:
                # Once for those that go together, and when nobody has them any more.
                self._gone_large = True
                self._reactor.callLater(AFTER_LARGE, self._after_large)
            self.log.debug("room unloaded", room=name)

    def _after_large(self) -> None:
        self._gone_large = False
        self._call_after_large()

    def _expire(self) -> None:
        for slot in self._slots.values():
            if slot.room is not None:
                slot.room.expire()
