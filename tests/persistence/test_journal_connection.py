"""The journal on its own connection to PostgreSQL: when that is lost during a commit, and when the log is locked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest_twisted
from attrs import frozen
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Cooperator, deferLater

from canvas_collab.counters import Counters
from canvas_collab.database.direct import DirectConnection
from canvas_collab.database.migrations import prepare_database
from canvas_collab.database.pool import Database
from canvas_collab.persistence.appending import Appended, journal_connection
from canvas_collab.persistence.journal import Journal
from canvas_collab.persistence.statements import RESET_LOCK_TIMEOUT
from canvas_collab.persistence.store import DocumentStore, LogEntry
from tests.support.databases import TestDatabase
from tests.support.stalling_proxy import StallingProxy
from tests.support.stores import refuse_to_compact

#: How long a step may take, in seconds.
PATIENCE = 20

# After the timeout the statement is run again without one.
WAITING = "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s"
WITHOUT_TIMEOUT = (f"{RESET_LOCK_TIMEOUT}EXECUTE canvas_collab_%",)


@frozen
class Parts:
    """A journal, its connection, and the pool beside that, which reach the database through the proxy."""

    journal: Journal
    direct: DirectConnection
    pool: Database
    appended: list[Appended]

    def write(self, *updates: str) -> None:
        for update in updates:
            self.journal.append(LogEntry("document", "nobody", update.encode()))

    async def saved(self) -> None:
        await self.journal.when_committed().addTimeout(PATIENCE, reactor)


@contextmanager
def started(database: TestDatabase, url: str) -> Iterator[Parts]:
    catalogue = prepare_database(database.url, migrate=True)
    pool, direct = Database(reactor, url, 1), journal_connection(reactor, url, catalogue)
    store = DocumentStore(pool, catalogue, refuse_to_compact, 0, pool, Cooperator(), direct)
    appended: list[Appended] = []
    store.on_append = lambda ids, entries: appended.append(ids)
    journal = Journal(reactor, store, 0, 10**6, lambda sizes: None, Counters())
    pool.startService()
    direct.startService()
    try:
        yield Parts(journal, direct, pool, appended)
    finally:
        direct.stopService()
        pool.stopService()


async def until(condition: Callable[[], bool]) -> None:
    async def poll() -> None:
        while not condition():
            await deferLater(reactor, 0.005)

    await Deferred.fromCoroutine(poll()).addTimeout(PATIENCE, reactor)


def stored(database: TestDatabase) -> list[str]:
    return [bytes(update).decode() for (update,) in database.query("SELECT update FROM yjs_update_log ORDER BY id")]


@pytest_twisted.ensureDeferred
async def test_a_commit_whose_result_is_lost_with_the_connection_is_repeated(database: TestDatabase) -> None:
    with StallingProxy(database.url) as proxy, started(database, proxy.url) as parts:
        await until(lambda: parts.direct.is_ready)
        parts.write("one")
        await parts.saved()
        lock = database.connect()
        with lock.cursor() as cursor:
            cursor.execute("BEGIN; LOCK TABLE collab.yjs_update_log IN EXCLUSIVE MODE")
            parts.write("two", "three")
            await until(lambda: database.query(WAITING, WITHOUT_TIMEOUT) == [(True,)])
            proxy.cut()
            await until(lambda: parts.journal.problem is not None)
            assert parts.journal.unsaved == 2
            cursor.execute("COMMIT")
        lock.close()
        parts.write("four")
        await parts.saved()
        assert parts.journal.problem is None
        # The server has committed what was cut off as well, and Yjs ignores what it has already.
        await until(lambda: len(stored(database)) == 6)
        once = [text for number, text in enumerate(stored(database)) if text not in stored(database)[:number]]
        assert once == ["one", "two", "three", "four"]
        assert sum(ids.count for ids in parts.appended) == 4


@pytest_twisted.ensureDeferred
async def test_a_locked_log_occupies_no_connection_of_the_pool(database: TestDatabase) -> None:
    with started(database, database.url) as parts:
        await until(lambda: parts.direct.is_ready)
        lock = database.connect()
        with lock.cursor() as cursor:
            cursor.execute("BEGIN; LOCK TABLE collab.yjs_update_log IN ACCESS EXCLUSIVE MODE")
            parts.write("one")
            await until(lambda: database.query(WAITING, WITHOUT_TIMEOUT) == [(True,)])
            assert await parts.pool.query("SELECT 1") == [(1,)]
            assert parts.journal.unsaved == 1
            cursor.execute("COMMIT")
        lock.close()
        await parts.saved()
    assert stored(database) == ["one"]


@pytest_twisted.ensureDeferred
async def test_the_pool_serves_while_the_journals_connection_is_away(database: TestDatabase) -> None:
    with started(database, database.url) as parts:
        await until(lambda: parts.direct.is_ready)
        parts.direct.stopService()
        parts.write("one")
        await parts.saved()
    assert stored(database) == ["one"]
