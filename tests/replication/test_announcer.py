"""Appends are notified after the commit: together, again after a failure, and not while no other daemon listens."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from canvas_collab.database.errors import DatabaseUnavailable
from canvas_collab.database.pool import Database
from canvas_collab.persistence.appending import Appended, LogEntry
from canvas_collab.replication.announcer import (
    INTERVAL,
    MAX_NOTIFICATIONS,
    REMEMBERED,
    RETRY_DELAY,
    AppendAnnouncer,
)
from canvas_collab.replication.payloads import (
    MAX_DOCUMENTS_LENGTH,
    AppendNotification,
    parse_append_notification,
)


class StagedDatabase:
    """A database whose queries end when the test fires their Deferreds."""

    def __init__(self) -> None:
        self.sent: list[list[str]] = []
        self.queries: list[Deferred[list[Any]]] = []

    def query(self, sql: str, parameters: tuple[list[str]]) -> Deferred[list[Any]]:
        [payloads] = parameters
        self.sent.append(payloads)
        self.queries.append(Deferred())
        return self.queries[-1]


class Stage:
    def __init__(self) -> None:
        self.clock = Clock()
        self.database = StagedDatabase()
        self.is_alone = False
        self.announcer = AppendAnnouncer(self.clock, cast(Database, self.database), "me", lambda: self.is_alone)
        self.announcer.startService()

    def append(self, first: int, last: int, *documents: str) -> None:
        entries = [LogEntry(name, "ada", b"") for name in documents or ["doc"]]
        self.announcer.appended(Appended(first, last, last - first + 1), entries)

    def sent(self) -> list[str]:
        """End the last query, and return what it has sent."""
        self.database.queries[-1].callback([])
        return self.database.sent[-1]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_the_first_append_is_notified_at_once_and_those_of_an_interval_together(stage: Stage) -> None:
    stage.append(1, 2)
    stage.clock.advance(0)
    assert stage.sent() == ["me,doc 1 2"]
    stage.append(3, 3, "b", "a")
    stage.append(4, 6, "c", "a")
    # Ids of others are in between.
    stage.append(8, 9, "a")
    stage.clock.advance(INTERVAL / 2)
    assert len(stage.database.sent) == 1
    stage.clock.advance(INTERVAL / 2)
    assert stage.sent() == ["me,a,b,c 3 6", "me,a 8 9"]
    stage.clock.advance(10)
    assert len(stage.database.sent) == 2


def test_one_query_runs_at_a_time_and_appends_during_it_are_notified_after_it(stage: Stage) -> None:
    stage.append(1, 1)
    stage.clock.advance(0)
    stage.append(2, 2)
    stage.clock.advance(10)
    assert len(stage.database.sent) == 1
    stage.sent()
    stage.clock.advance(0)
    assert stage.sent() == ["me,doc 2 2"]


def test_what_could_not_be_sent_is_sent_again_with_what_came_later(stage: Stage) -> None:
    stage.append(1, 1)
    stage.clock.advance(0)
    stage.append(2, 2)
    stage.database.queries[-1].errback(DatabaseUnavailable("away"))
    stage.append(5, 5)
    stage.clock.advance(RETRY_DELAY)
    stage.database.queries[-1].errback(DatabaseUnavailable("away"))
    stage.clock.advance(RETRY_DELAY)
    assert stage.sent() == ["me,doc 1 2", "me,doc 5 5"]
    stage.clock.advance(10)
    assert len(stage.database.sent) == 3


def test_very_many_become_one_of_all_ids(stage: Stage) -> None:
    stage.append(1, 1)
    stage.clock.advance(0)
    for number in range(MAX_NOTIFICATIONS + 1):
        stage.append(2 * number + 3, 2 * number + 3)
    stage.sent()
    stage.clock.advance(INTERVAL)
    assert stage.sent() == [f"me 3 {2 * MAX_NOTIFICATIONS + 3}"]


def test_nothing_is_sent_while_alone_and_the_last_appends_when_another_appears(stage: Stage) -> None:
    stage.is_alone = True
    for number in range(1, 8):
        stage.append(number, number)
        stage.clock.advance(REMEMBERED / 2 + 0.1)
    assert stage.database.sent == []
    stage.announcer.other_appeared()
    stage.clock.advance(INTERVAL)
    [payload] = stage.sent()
    notification = parse_append_notification(payload)
    # What is older than twice the time is forgotten.
    assert notification is not None
    assert (1 < notification.first <= 6, notification.last, notification.documents) == (True, 7, None)
    stage.announcer.other_appeared()
    stage.clock.advance(10)
    assert len(stage.database.sent) == 1


def test_the_last_appends_are_notified_with_the_next_when_it_is_no_longer_known_that_it_is_alone(stage: Stage) -> None:
    stage.is_alone = True
    stage.append(1, 3)
    stage.is_alone = False
    stage.append(7, 7)
    stage.clock.advance(0)
    assert stage.sent() == ["me 1 3", "me,doc 7 7"]


def test_stopping_sends_what_is_pending(stage: Stage) -> None:
    stage.append(1, 1)
    stage.clock.advance(0)
    stage.append(2, 2)
    stopped = stage.announcer.stopService()
    assert not stopped.called
    stage.sent()
    assert stage.sent() == ["me,doc 2 2"]
    assert stopped.called
    assert stage.clock.getDelayedCalls() == []


def test_stopping_does_not_wait_for_a_database_that_does_not_answer(stage: Stage) -> None:
    stage.append(1, 1)
    stage.clock.advance(0)
    stopped = stage.announcer.stopService()
    stage.clock.advance(1)
    assert stopped.called


@given(st.frozensets(st.text(min_size=1), max_size=5), st.integers(0, 2**63), st.integers(0, 2**63))
def test_a_payload_is_parsed_and_names_that_do_not_fit_into_one_are_left_out(
    documents: frozenset[str], first: int, last: int
) -> None:
    payload = AppendNotification("origin", first, last, documents).payload()
    parsed = parse_append_notification(payload)
    assert parsed is not None
    assert (parsed.origin, parsed.first, parsed.last) == ("origin", first, last)
    assert parsed.documents in (documents, None)


def test_names_are_in_a_payload_that_daemons_without_them_can_read() -> None:
    names = frozenset(["diagram-1", "diagram-2"])
    payload = AppendNotification("origin", 1, 2, names).payload()
    # They split it at its two spaces, and compare the first part with their own origin.
    assert payload.split(" ") == ["origin,diagram-1,diagram-2", "1", "2"]
    many = frozenset(f"{number:0100}" for number in range(MAX_DOCUMENTS_LENGTH // 100))
    assert AppendNotification("origin", 1, 2, many).payload() == "origin 1 2"
