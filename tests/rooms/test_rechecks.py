"""When connections are rechecked, in batches, and after failures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, Cooperator

from canvas_collab.database.errors import DatabaseUnavailable
from canvas_collab.rooms.connection import Connection
from canvas_collab.rooms.rechecking import Rechecker
from canvas_collab.rooms.rechecks import COALESCING_DELAY, LONGEST_RETRY_DELAY, Rechecks
from canvas_collab.rooms.rooms import Rooms
from canvas_collab.scheduling import make_cooperator

INTERVAL = 60.0


class Member:
    """A connection, as far as it matters here."""

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        self.has_left = False


class Members:
    """A room, as far as it matters here."""

    def __init__(self, name: str, members: list[Member]) -> None:
        self.name = name
        self.members = members


class LoadedRooms:
    def __init__(self, rooms: list[Members]) -> None:
        self.rooms = rooms

    def loaded_rooms(self) -> list[Members]:
        return self.rooms


class RecordingRechecker:
    """Records the batches that it is given."""

    def __init__(self, clock: Clock) -> None:
        self.batch_size = 3
        self.batches: list[dict[str, bool]] = []
        self.times: list[float] = []
        self.failures = 0
        self.outdated: list[Connection] = []
        self.seconds = 0.0
        self.answer: Deferred[None] | None = None
        self._clock = clock

    async def recheck(self, batch: Mapping[Connection, bool]) -> list[Connection]:
        self.batches.append({connection.user_id: asks for connection, asks in batch.items()})
        self.times.append(self._clock.seconds())
        self._clock.rightNow += self.seconds
        if self.answer is not None:
            await self.answer
        if self.failures:
            self.failures -= 1
            raise DatabaseUnavailable("away")
        outdated, self.outdated = self.outdated, []
        return outdated


class Stage:
    """Rechecks of seven connections, in two rooms."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.members = [Member(f"user {number}") for number in range(7)]
        rooms = LoadedRooms([Members("diagram-a", self.members[:5]), Members("diagram-b", self.members[5:])])
        self.rechecker = RecordingRechecker(self.clock)
        cooperator: Cooperator = make_cooperator(self.clock)
        self.rechecks = Rechecks(
            self.clock,
            cast(Rooms, rooms),
            cast(Rechecker, self.rechecker),
            cooperator,
            INTERVAL,
            "diagram-",
        )
        self.rechecks.startService()

    def connection(self, number: int) -> Connection:
        return cast(Connection, self.members[number])

    def run(self, seconds: float) -> list[list[str]]:
        """Let time pass; return the users of the batches meanwhile."""
        self.rechecker.batches.clear()
        self.clock.pump([0.01] * round(seconds / 0.01))
        return [list(batch) for batch in self.rechecker.batches]


def flat(batches: list[list[str]]) -> list[str]:
    return [user for batch in batches for user in batch]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_at_the_interval_all_are_rechecked_in_batches_and_asked_for_new_tokens(stage: Stage) -> None:
    assert stage.run(INTERVAL - 1) == []
    batches = stage.run(2)
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert sorted(flat(batches)) == [member.user_id for member in stage.members]
    assert all(asks for batch in stage.rechecker.batches for asks in batch.values())


def test_a_burst_of_notifications_is_one_recheck_of_those_concerned(stage: Stage) -> None:
    for _ in range(100):
        stage.rechecks.access_changed("user:user 1")
        stage.rechecks.access_changed("diagram:b")
    assert stage.rechecks.change_count == 200
    [batch] = stage.run(1)
    assert sorted(batch) == ["user 1", "user 5", "user 6"]
    # How often a client is asked for a new token does not depend on how often others are notified of.
    assert stage.rechecker.batches == [dict.fromkeys(batch, False)]


def test_those_concerned_are_rechecked_before_the_others(stage: Stage) -> None:
    stage.run(INTERVAL - 0.02)
    stage.rechecker.answer = Deferred()
    assert len(stage.run(0.2)) == 1
    stage.rechecks.access_changed("user:user 6")
    answer, stage.rechecker.answer = stage.rechecker.answer, None
    answer.callback(None)
    batches = stage.run(1)
    assert batches[0] == ["user 6"]
    # User 6 was not rechecked at the interval yet, and is.
    assert sorted(flat(batches[1:])) == ["user 3", "user 4", "user 5", "user 6"]


def test_notifications_without_end_do_not_keep_the_others_from_being_rechecked(stage: Stage) -> None:
    stage.run(INTERVAL - 0.02)
    others: set[str] = set()
    for _ in range(50):
        stage.rechecks.access_changed("user:user 6")
        stage.run(0.02)
        others.update(user for batch in stage.rechecker.batches for user, asks in batch.items() if asks)
    assert others == {member.user_id for member in stage.members}


def test_a_notification_during_a_recheck_of_the_same_connection_rechecks_it_again(stage: Stage) -> None:
    stage.rechecker.answer = Deferred()
    stage.rechecks.access_changed("user:user 1")
    assert stage.run(0.1) == [["user 1"]]
    stage.rechecks.access_changed("user:user 1")
    answer, stage.rechecker.answer = stage.rechecker.answer, None
    answer.callback(None)
    assert stage.run(1) == [["user 1"]]
    assert stage.run(1) == []


def test_garbage_rechecks_nobody_and_is_not_logged_with_its_text(stage: Stage) -> None:
    events: list[Any] = []
    stage.rechecks.log = type("Log", (), {"warn": lambda self, *text, **fields: events.append((text, fields))})()
    for _ in range(100):
        stage.rechecks.access_changed("session:secret token")
    assert stage.rechecks.change_count == 0
    assert stage.run(1) == []
    assert 0 < len(events) < 10
    assert "secret" not in str(events)


def test_after_missed_notifications_everybody_is_rechecked(stage: Stage) -> None:
    stage.rechecks.notifications_missed()
    assert sorted(flat(stage.run(1))) == [member.user_id for member in stage.members]


def test_while_the_database_is_away_rechecks_are_retried_with_pauses_and_no_connection_is_forgotten(
    stage: Stage,
) -> None:
    stage.rechecker.failures = 5
    stage.rechecks.access_changed("")
    batches = stage.run(6 * LONGEST_RETRY_DELAY)
    # In another order after each failure, so that one connection does not hold up the others.
    assert batches[0] != batches[1]
    assert len(batches) == 5 + 3
    assert sorted(flat(batches[5:])) == [member.user_id for member in stage.members]


def test_a_connection_with_a_newer_token_is_rechecked_once_more_and_still_asked(stage: Stage) -> None:
    stage.run(INTERVAL - 0.02)
    stage.rechecker.outdated = [stage.connection(0)]
    batches = stage.run(1)
    assert flat(batches).count("user 0") == 2
    assert stage.rechecker.batches[1] == {"user 0": True}


def test_a_connection_that_was_authorized_while_a_change_was_notified_is_rechecked(stage: Stage) -> None:
    before = stage.rechecks.change_count
    stage.rechecks.authorized(stage.connection(0), before)
    assert stage.run(1) == []
    stage.rechecks.access_changed("user:somebody")
    stage.rechecks.authorized(stage.connection(0), before)
    assert stage.run(1) == [["user 0"]]


def test_between_batches_there_is_as_much_time_for_other_work(stage: Stage) -> None:
    stage.rechecker.seconds = 1.0
    stage.rechecks.access_changed("")
    stage.run(5)
    first, second, third = stage.rechecker.times
    assert second - first == pytest.approx(2.0, abs=0.05)
    assert third - second == pytest.approx(2.0, abs=0.05)


def test_nothing_is_rechecked_after_the_stop(stage: Stage) -> None:
    stage.rechecks.access_changed("")
    stage.rechecks.stopService()
    stage.rechecks.access_changed("")
    assert stage.run(INTERVAL * 2) == []
    assert stage.clock.getDelayedCalls() == []


def test_a_recheck_begins_soon_after_its_notification() -> None:
    assert COALESCING_DELAY < 0.1
