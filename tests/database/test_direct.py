"""A direct connection: prepared where that is possible, one statement at a time, and set up again when it was lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any

import psycopg2
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import LogEvent, capturedLogs

from canvas_collab.database.direct import DirectConnection
from canvas_collab.database.errors import DatabaseUnavailable, LockTimeout, StatementFailed, ValuesRefused
from tests.support.databases import TestDatabase
from tests.support.pooler import PgBouncer, find_pgbouncer
from tests.support.stalling_proxy import StallingProxy

STATEMENT = "INSERT INTO item (content) SELECT unnest(%s::text[]) RETURNING content, pg_backend_pid()"

#: How long a step may take, in seconds.
PATIENCE = 20


@pytest.fixture
def items(empty_database: TestDatabase) -> TestDatabase:
    """A database with a table of items."""
    empty_database.query("CREATE TABLE item (content text CHECK (content <> 'bad'))")
    return empty_database


@pytest.fixture
def events() -> Iterator[Sequence[LogEvent]]:
    """What is logged."""
    with capturedLogs() as captured:
        yield captured


def names(events: Sequence[LogEvent]) -> list[str]:
    """The names of a direct connection's events."""
    return [event["log_format"] for event in events if event.get("log_namespace", "").endswith("DirectConnection")]


def connection_to(url: str) -> DirectConnection:
    return DirectConnection(reactor, url, "canvas-collab test", STATEMENT, ["text[]"])


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""

    async def poll() -> None:
        while not condition():
            await deferLater(reactor, 0.005)

    await Deferred.fromCoroutine(poll()).addTimeout(PATIENCE, reactor)


async def within(action: Awaitable[Any]) -> Any:
    async def wait() -> Any:
        return await action

    return await Deferred.fromCoroutine(wait()).addTimeout(PATIENCE, reactor)


def texts(database: TestDatabase) -> list[str]:
    return [content for (content,) in database.query("SELECT content FROM item ORDER BY 1")]


def prepared_in(database: TestDatabase) -> list[str]:
    """What the connection of the test runs, as the server sees it."""
    rows = database.query("SELECT query FROM pg_stat_activity WHERE application_name = 'canvas-collab test'")
    return [query for (query,) in rows]


@pytest_twisted.ensureDeferred
async def test_the_statement_is_prepared_and_errors_leave_the_connection_as_it_is(
    items: TestDatabase, events: Sequence[LogEvent]
) -> None:
    direct = connection_to(items.url)
    direct.startService()
    try:
        await until(lambda: direct.is_ready)
        [(content, process_id)] = await within(direct.run([b"'{one}'"]))
        assert content == "one"
        assert prepared_in(items)[0].startswith("EXECUTE canvas_collab_")
        with pytest.raises(ValuesRefused):
            await within(direct.run([b"'{two,bad}'"]))
        with pytest.raises(StatementFailed):
            await within(direct.run([b"'{two}'"], b"SELECT no_such_function();"))
        # More than a socket's buffer takes at once.
        large = b"x" * 5_000_000
        [(content, same)] = await within(direct.run([b"'{" + large + b"}'"], b"SET LOCAL lock_timeout = 50;"))
        assert (len(content), same) == (len(large), process_id)
        lock = items.connect()
        with lock.cursor() as cursor:
            cursor.execute("BEGIN; LOCK TABLE item")
            with pytest.raises(LockTimeout) as timeout:
                await within(direct.run([b"'{three}'"], b"SET LOCAL lock_timeout = 50;"))
            assert not timeout.value.is_row_lock
        lock.close()
        assert [same for _, same in await within(direct.run([b"'{four}'"]))] == [process_id]
    finally:
        direct.stopService()
    assert [text[:4] for text in texts(items)] == ["four", "one", "xxxx"]
    assert names(events) == []


@pytest.mark.parametrize(
    "statement", ["DEALLOCATE ALL", "DISCARD ALL", "ALTER TABLE item ALTER content TYPE varchar(90)"]
)
@pytest_twisted.ensureDeferred
async def test_what_a_lost_prepared_statement_was_to_do_is_done_once(
    items: TestDatabase, events: Sequence[LogEvent], statement: str
) -> None:
    direct = connection_to(items.url)
    direct.startService()
    try:
        await until(lambda: direct.is_ready)
        await within(direct.run([b"'{before}'"]))
        if statement.startswith("ALTER"):
            items.query(statement)
        else:
            # DISCARD ALL may not be run with others in one message.
            direct._cursor.execute(statement)
            await until(lambda: direct._raw.poll() == psycopg2.extensions.POLL_OK)
        await within(direct.run([b"'{after}'"]))
        assert not prepared_in(items)[0].startswith("EXECUTE")
        await within(direct.run([b"'{later}'"]))
    finally:
        direct.stopService()
    assert texts(items) == ["after", "before", "later"]
    assert names(events) == ["statement not prepared"]


@pytest_twisted.ensureDeferred
async def test_a_connection_that_is_lost_between_the_statement_and_its_result_fails_it_and_is_made_again(
    items: TestDatabase,
) -> None:
    with StallingProxy(items.url) as proxy:
        direct = connection_to(proxy.url)
        direct.startService()
        try:
            await until(lambda: direct.is_ready)
            [(_, process_id)] = await within(direct.run([b"'{one}'"]))
            lock = items.connect()
            with lock.cursor() as cursor:
                # The server has the statement, and commits it after the connection is gone.
                cursor.execute("BEGIN; LOCK TABLE item IN EXCLUSIVE MODE")
                running = direct.run([b"'{two}'"])
                waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
                await until(lambda: items.query(waits) == [(1,)])
                assert not direct.is_ready
                with pytest.raises(DatabaseUnavailable, match="another statement"):
                    await within(direct.run([b"'{three}'"]))
                proxy.cut()
                with pytest.raises(DatabaseUnavailable):
                    await within(running)
                assert not direct.is_ready
                cursor.execute("COMMIT")
            lock.close()
            await until(lambda: direct.is_ready)
            [(_, other)] = await within(direct.run([b"'{four}'"]))
            assert other != process_id
            assert prepared_in(items)[-1].startswith("EXECUTE")
            await until(lambda: "two" in texts(items))
        finally:
            direct.stopService()
    assert texts(items) == ["four", "one", "two"]


@pytest_twisted.ensureDeferred
async def test_an_idle_connection_that_is_lost_is_made_again_and_a_stopped_one_is_not(
    items: TestDatabase, events: Sequence[LogEvent]
) -> None:
    direct = connection_to(items.url)

    def is_ready_as_another(before: int) -> bool:
        return direct.is_ready and direct._raw.info.backend_pid != before

    direct.startService()
    await until(lambda: direct.is_ready)
    for _ in range(3):
        process_id = direct._raw.info.backend_pid
        items.query("SELECT pg_terminate_backend(%s)", (process_id,))
        await until(partial(is_ready_as_another, process_id))
    assert names(events) == ["database connection lost"] * 3
    running = direct.run([b"'{one}'"], b"SELECT pg_sleep(60);")
    direct.stopService()
    with pytest.raises(DatabaseUnavailable):
        await within(running)
    with pytest.raises(DatabaseUnavailable):
        await within(direct.run([b"'{two}'"]))
    assert texts(items) == []


@pytest_twisted.ensureDeferred
async def test_behind_a_transaction_pooler_nothing_is_prepared(items: TestDatabase, events: Sequence[LogEvent]) -> None:
    executable = find_pgbouncer()
    if executable is None:
        pytest.skip("there is no pgbouncer; Debian has a package of that name")
    with PgBouncer(executable, items.url, "transaction") as pooler:
        direct = connection_to(pooler.url)
        direct.startService()
        try:
            await until(lambda: direct.is_ready)
            await within(direct.run([b"'{one}'"], b"SET LOCAL lock_timeout = 50;"))
        finally:
            direct.stopService()
        left = psycopg2.connect(pooler.url)
        with left.cursor() as cursor:
            cursor.execute("SELECT count(*), current_setting('lock_timeout') FROM pg_prepared_statements")
            assert cursor.fetchall() == [(0, "0")]
        left.close()
    assert names(events) == ["statement not prepared"]
    assert texts(items) == ["one"]
