"""Rooms whose loading and saving a test controls."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from canvas_collab.counters import Counters
from canvas_collab.document.document import Document
from canvas_collab.rooms.awareness import Awareness
from canvas_collab.rooms.pacing import FlushPacer
from canvas_collab.rooms.room import Room
from canvas_collab.rooms.rooms import Rooms


def make_room(clock: Clock, name: str) -> Room[Any]:
    return Room(clock, name, Document(), Awareness(1), FlushPacer(1, 1), FlushPacer(1, 1), lambda *_: None, Counters())


class StagedRooms:
    """Rooms that are loaded, and whose documents are committed, when the test fires the Deferreds for it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.loads: list[Deferred[Room[Any]]] = []
        self.saved: list[str] = []
        self.commits: list[Deferred[None]] = []
        self.rooms = Rooms(self.clock, self._load, self._save, when_committed=self._when_committed)

    def _load(self, name: str) -> Deferred[Room[Any]]:
        self.loads.append(Deferred())
        return self.loads[-1]

    async def _save(self, name: str) -> None:
        self.saved.append(name)

    def _when_committed(self, name: str) -> Deferred[None]:
        self.commits.append(Deferred())
        return self.commits[-1]

    def enter(self) -> Deferred[Room[Any]]:
        return Deferred.fromCoroutine(self.rooms.enter("a"))
