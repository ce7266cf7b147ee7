"""The rooms in memory: each is loaded once, saved after its last client has left, and then unloaded."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from canvas_collab.rooms.connection import Connection
from canvas_collab.rooms.room import Room
from canvas_collab.rooms.rooms import Rooms
from tests.support.rooms import make_room


class Stage:
    """Rooms whose loading and saving end when the test says so."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.loading: list[Deferred[Room[Connection]]] = []
        self.saving: list[Deferred[None]] = []
        self.rooms = Rooms(self.clock, self.load, self.save)

    def load(self, name: str) -> Deferred[Room[Connection]]:
        self.loading.append(Deferred())
        return self.loading[-1]

    def save(self, name: str) -> Deferred[None]:
        self.saving.append(Deferred())
        return self.saving[-1]

    def enter(self) -> Deferred[Room[Connection]]:
        return Deferred.fromCoroutine(self.rooms.enter("room"))


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_room_is_loaded_once_for_all_that_enter_at_the_same_time(stage: Stage) -> None:
    entries = [stage.enter() for _ in range(5)]
    assert len(stage.loading) == 1
    room = make_room(stage.clock)
    stage.loading[0].callback(room)
    assert [entry.result for entry in entries] == [room] * 5
    assert stage.enter().result is room
    assert len(stage.rooms) == 1


def test_when_loading_fails_all_that_wait_fail_and_the_next_tries_again(stage: Stage) -> None:
    entries = [stage.enter() for _ in range(3)]
    stage.loading[0].errback(RuntimeError("away"))
    failures: list[object] = []
    for entry in entries:
        entry.addErrback(failures.append)
    assert len(failures) == 3
    assert len(stage.rooms) == 0
    entry = stage.enter()
    stage.loading[1].callback(make_room(stage.clock))
    assert entry.called


def test_a_room_is_unloaded_when_the_last_has_left_and_it_is_saved(stage: Stage) -> None:
    stage.enter()
    stage.enter()
    stage.loading[0].callback(make_room(stage.clock))
    stage.rooms.leave("room")
    assert stage.saving == []
    stage.rooms.leave("room")
    assert len(stage.rooms) == 1
    stage.saving[0].callback(None)
    assert len(stage.rooms) == 0


def test_a_room_that_is_entered_while_it_is_saved_stays_in_memory(stage: Stage) -> None:
    stage.enter()
    room = make_room(stage.clock)
    stage.loading[0].callback(room)
    stage.rooms.leave("room")
    assert stage.enter().result is room
    stage.saving[0].callback(None)
    assert len(stage.rooms) == 1
    stage.rooms.leave("room")
    stage.saving[1].callback(None)
    assert len(stage.rooms) == 0


def test_a_room_that_is_entered_and_left_while_it_is_saved_is_saved_again_before_it_is_unloaded(stage: Stage) -> None:
    stage.enter()
    stage.loading[0].callback(make_room(stage.clock))
    stage.rooms.leave("room")
    for _ in range(3):
        stage.enter()
        stage.rooms.leave("room")
    assert len(stage.saving) == 1
    stage.saving[0].callback(None)
    assert "room" in stage.rooms
    assert len(stage.saving) == 2
    stage.saving[1].callback(None)
    assert "room" not in stage.rooms
    assert len(stage.saving) == 2


def test_a_room_whose_snapshot_fails_is_unloaded_as_the_log_has_all_updates(stage: Stage) -> None:
    stage.enter()
    stage.loading[0].callback(make_room(stage.clock))
    stage.rooms.leave("room")
    stage.saving[0].errback(RuntimeError("away"))
    assert len(stage.rooms) == 0
