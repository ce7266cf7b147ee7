"""Discarding a room, and entering one of the same name afterwards."""

from __future__ import annotations

from typing import Any, cast

import pytest
from pycrdt import Doc, Text
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from canvas_collab.database.errors import DatabaseUnavailable
from canvas_collab.document import document
from canvas_collab.document.merging import merge_updates
from canvas_collab.protocol.steps import run_to_completion
from canvas_collab.protocol.update import decode_update
from canvas_collab.rooms.prepared_message import PreparedMessage
from canvas_collab.rooms.room import Room
from canvas_collab.rooms.rooms import LONGEST_WAIT
from tests.support.staged_rooms import StagedRooms, make_room


def test_after_a_discard_clients_enter_another_room() -> None:
    staged = StagedRooms()
    first = staged.enter()
    old, new = make_room(staged.clock, "a"), make_room(staged.clock, "a")
    staged.loads[0].callback(old)
    assert first.result is old
    assert staged.rooms.discard("a") is old
    assert old.is_discarded
    assert len(staged.rooms) == 0
    staged.commits[0].callback(None)
    second = staged.enter()
    staged.loads[1].callback(new)
    assert second.result is new
    assert not new.is_discarded
    staged.rooms.leave("a")
    assert staged.saved == ["a"]
    assert "a" not in staged.rooms
    assert staged.rooms.discard("a") is None


def test_a_room_discarded_while_it_is_loaded_is_loaded_again() -> None:
    staged = StagedRooms()
    entering = [staged.enter(), staged.enter()]
    assert staged.rooms.discard("a") is None
    staged.loads[0].callback(make_room(staged.clock, "a"))
    assert not any(each.called for each in entering)
    new = make_room(staged.clock, "a")
    staged.loads[1].callback(new)
    assert [each.result for each in entering] == [new, new]


class Editor:
    """A connection that edits and receives nothing."""

    user_id = "editor"

    def offer(self, message: PreparedMessage) -> bool:
        return True


def enter_after_a_discard(staged: StagedRooms) -> Deferred[Room[Any]]:
    """Enter a room, discard it, and enter it again."""
    staged.enter()
    staged.loads[0].callback(make_room(staged.clock, "a"))
    staged.rooms.discard("a")
    return staged.enter()


def test_entering_after_a_discard_waits_until_earlier_edits_are_committed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(document, "RUNS_PER_STEP", 1)
    staged = StagedRooms()
    staged.enter()
    old = make_room(staged.clock, "a")
    staged.loads[0].callback(old)
    texts = [Doc({"text": Text(text)}).get_update() for text in "abc"]
    editing = old.edit(cast(Any, Editor()), decode_update(merge_updates([decode_update(text) for text in texts])))
    next(editing)
    staged.rooms.discard("a")
    entering = staged.enter()
    assert staged.commits == []
    run_to_completion(editing)
    assert len(staged.loads) == len(staged.commits) == 1
    staged.commits[0].callback(None)
    new = make_room(staged.clock, "a")
    staged.loads[1].callback(new)
    assert entering.result is new


def test_entering_after_a_discard_waits_for_a_limited_time() -> None:
    staged = StagedRooms()
    enter_after_a_discard(staged)
    staged.clock.advance(LONGEST_WAIT / 2)
    assert len(staged.loads) == 1
    staged.clock.advance(LONGEST_WAIT / 2)
    staged.loads[1].callback(make_room(staged.clock, "a"))
    # Entering waits only once.
    staged.rooms.leave("a")
    staged.enter()
    assert len(staged.loads) == 3


def test_entering_after_a_second_discard_waits_for_edits_before_that() -> None:
    staged = StagedRooms()
    enter_after_a_discard(staged)
    staged.clock.advance(LONGEST_WAIT)
    staged.loads[1].callback(make_room(staged.clock, "a"))
    staged.rooms.discard("a")
    staged.commits[0].callback(None)
    staged.enter()
    assert len(staged.loads) == 2
    staged.commits[1].callback(None)
    assert len(staged.loads) == 3


def test_entering_again_after_loading_has_failed_waits_again() -> None:
    staged = StagedRooms()
    failures: list[Failure] = []
    enter_after_a_discard(staged).addErrback(failures.append)
    staged.clock.advance(LONGEST_WAIT)
    staged.loads[1].errback(DatabaseUnavailable("away"))
    assert len(failures) == 1
    staged.enter()
    assert len(staged.loads) == 2
    staged.commits[0].callback(None)
    assert len(staged.loads) == 3
