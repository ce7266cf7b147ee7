"""Notifications are parsed, and it is noticed when they do not arrive, and when they arrive again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from canvas_collab.database.errors import StatementFailed
from canvas_collab.database.pool import Database
from canvas_collab.replication import notifications
from canvas_collab.replication.notifications import (
    NOT_RECEIVED,
    AppendNotification,
    Notifications,
    parse_append_notification,
)
from tests.support.databases import TestDatabase


@given(st.integers(0), st.integers(0))
def test_a_notification_is_parsed(first: int, last: int) -> None:
    assert parse_append_notification(f"origin {first} {last}") == AppendNotification("origin", first, last)


@pytest.mark.parametrize("payload", ["", "hello", "a b c", "a 1 x", "a 1 2 d"])
def test_any_other_payload_is_no_append_notification(payload: str) -> None:
    assert parse_append_notification(payload) is None


class Pooler:
    """A database whose notifications get lost, as behind a transaction pooler, unless `passes` is true."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.passes = False
        self.failure: Exception | None = None

    async def execute(self, sql: str, parameters: tuple[object, ...]) -> None:
        if self.failure is not None:
            raise self.failure
        if self.passes:
            await self._database.execute(sql, parameters)


@pytest.mark.parametrize(
    ("failure", "problem"), [(None, NOT_RECEIVED), (StatementFailed("permission denied"), "permission denied")]
)
@pytest_twisted.ensureDeferred
async def test_a_gap_is_reported_when_notifications_do_not_arrive_and_when_they_arrive_again(
    empty_database: TestDatabase, monkeypatch: pytest.MonkeyPatch, failure: Exception | None, problem: str
) -> None:
    monkeypatch.setattr(notifications, "TEST_TIMEOUT", 0.1)
    database = Database(reactor, empty_database.url, 1)
    pooler = Pooler(database)
    pooler.failure = failure
    gap: Deferred[Any] = Deferred()

    def on_gap() -> None:
        gap.callback(notifications_service.problem)

    notifications_service = Notifications(
        reactor, empty_database.url, cast(Database, pooler), 0.2, lambda _: None, on_gap, lambda _: None
    )
    database.startService()
    notifications_service.startService()
    try:
        assert await gap.addTimeout(10, reactor) == problem
        gap = Deferred()
        pooler.failure, pooler.passes = None, True
        # The gap is reported again when notifications arrive, so that what was missed until then is searched for.
        assert await gap.addTimeout(10, reactor) is None
    finally:
        notifications_service.stopService()
        database.stopService()


@pytest_twisted.ensureDeferred
async def test_a_daemon_knows_that_it_is_alone_until_another_listens(empty_database: TestDatabase) -> None:
    database = Database(reactor, empty_database.url, 1)
    database.startService()
    appeared: list[str] = []

    def notifications_of(name: str) -> Notifications:
        return Notifications(
            reactor,
            empty_database.url,
            database,
            0.1,
            lambda _: None,
            lambda: None,
            lambda _: None,
            on_other=lambda: appeared.append(name),
        )

    async def until(condition: Callable[[], bool]) -> None:
        async def poll() -> None:
            while not condition():
                await deferLater(reactor, 0.01)

        await Deferred.fromCoroutine(poll()).addTimeout(20, reactor)

    first, second = notifications_of("first"), notifications_of("second")
    try:
        # Before the first test notification has arrived nothing is known.
        assert not first.is_alone
        first.startService()
        await until(lambda: first.is_alone)
        assert appeared == []
        second.startService()
        await until(lambda: {"first", "second"} <= set(appeared))
        assert not first.is_alone
        assert not second.is_alone
        second.stopService()
        await until(lambda: first.is_alone)
    finally:
        first.stopService()
        database.stopService()
