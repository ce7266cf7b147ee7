"""Hearing of what others add: that nothing is heard is noticed, and so is that something is heard again."""

from __future__ import annotations

from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from canvas_collab.database.pool import Database
from canvas_collab.replication import notifications
from canvas_collab.replication.notifications import NOT_RECEIVED, Notifications
from tests.support.databases import TestDatabase


class Pooler:
    """What is sent by this is heard by nobody, as behind a transaction pooler, until it is told to let it pass."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.passes = False

    async def execute(self, sql: str, parameters: tuple[object, ...]) -> None:
        if self.passes:
            await self._database.execute(sql, parameters)


@pytest_twisted.ensureDeferred
async def test_something_may_have_been_missed_when_nothing_is_heard_and_until_it_is_heard_again(
    empty_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "TEST_TIMEOUT", 0.1)
    database = Database(reactor, empty_database.url, 1)
    pooler = Pooler(database)
    gap: Deferred[Any] = Deferred()

    def on_gap() -> None:
        gap.callback(listening.problem)

    listening = Notifications(
        reactor, empty_database.url, cast(Database, pooler), 0.2, lambda _: None, on_gap, lambda _: None
    )
    database.startService()
    listening.startService()
    try:
        assert await gap == NOT_RECEIVED
        gap = Deferred()
        pooler.passes = True
        # Told when it is heard again, so that what was sent until then is looked for, and not before.
        assert await gap.addTimeout(10, reactor) is None
    finally:
        listening.stopService()
        database.stopService()
