"""A document is reset while its room is in memory or being loaded."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from canvas_collab.database.errors import DatabaseUnavailable
from canvas_collab.database.pool import Database, Row
from canvas_collab.database.tables import Tables
from canvas_collab.replication.resets import ResetHandler
from canvas_collab.rooms.room import Room
from tests.support.staged_rooms import StagedRooms, make_room


class StagedDatabase:
    """A database with the times of the last resets, which can be unavailable."""

    def __init__(self) -> None:
        self.resets: dict[str, datetime] = {}
        self.is_unavailable = False

    async def query(self, sql: str, parameters: tuple[list[str]]) -> list[Row]:
        if self.is_unavailable:
            raise DatabaseUnavailable("away")
        [names] = parameters
        return [(name, reset_at) for name, reset_at in self.resets.items() if name in names]


class Stage:
    """A reset handler, with rooms whose loading the test controls."""

    def __init__(self) -> None:
        self.staged = StagedRooms()
        self.database = StagedDatabase()
        self.resets = ResetHandler(cast(Database, self.database), Tables("collab"), self.staged.rooms)

    def find_missed(self) -> list[Failure]:
        """Search for missed resets, and return the failure if there is one."""
        failures: list[Failure] = []
        Deferred.fromCoroutine(self.resets.find_missed()).addErrback(failures.append)
        return failures

    def load(self, reset_at: datetime | None) -> Room[Any]:
        """Finish loading a room whose document was read with this time of its last reset."""
        loaded = make_room(self.staged.clock, "a")
        self.resets.loaded("a", reset_at)
        self.staged.loads[-1].callback(loaded)
        return loaded


FIRST = datetime(2024, 1, 1, tzinfo=timezone.utc)
SECOND = FIRST + timedelta(milliseconds=1)


def test_a_room_is_discarded_once_for_each_reset() -> None:
    stage = Stage()
    for known, found in ((None, FIRST), (FIRST, SECOND)):
        stage.staged.enter()
        old = stage.load(known)
        stage.find_missed()
        assert not old.is_discarded
        stage.database.resets["a"] = found
        stage.find_missed()
        assert old.is_discarded
        stage.staged.commits.pop().callback(None)
        entering = stage.staged.enter()
        new = stage.load(found)
        assert entering.result is new
        stage.find_missed()
        assert not new.is_discarded
        stage.staged.rooms.leave("a")
    assert len(stage.staged.loads) == 4


def test_a_room_being_loaded_is_loaded_again_if_it_was_read_before_a_reset() -> None:
    stage = Stage()
    entering = stage.staged.enter()
    stage.database.resets["a"] = FIRST
    stage.find_missed()
    stage.load(None)
    assert not entering.called
    assert len(stage.staged.loads) == 2
    stage.find_missed()
    new = stage.load(FIRST)
    assert entering.result is new
    stage.find_missed()
    assert not new.is_discarded


def test_a_room_being_loaded_stays_if_it_was_read_after_the_reset() -> None:
    stage = Stage()
    entering = stage.staged.enter()
    stage.database.resets["a"] = FIRST
    stage.find_missed()
    new = stage.load(FIRST)
    assert entering.result is new
    assert len(stage.staged.loads) == 1


def test_a_room_read_after_yet_another_reset_is_loaded_only_once_more() -> None:
    stage = Stage()
    entering = stage.staged.enter()
    stage.database.resets["a"] = FIRST
    stage.find_missed()
    # It was reset once more before it was read, so the time is not the one that was found.
    stage.load(SECOND)
    new = stage.load(SECOND)
    assert entering.result is new


def test_a_failed_search_for_resets_is_raised() -> None:
    stage = Stage()
    stage.database.is_unavailable = True
    assert [failure.type for failure in stage.find_missed()] == [DatabaseUnavailable]
