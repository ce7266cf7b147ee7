"""Which errors of the database refuse one update, and which may concern every update."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.python.failure import Failure

from canvas_collab.counters import Counters
from canvas_collab.database.errors import DatabaseUnavailable, StatementFailed, ValuesRefused
from canvas_collab.database.migrations import prepare_database
from canvas_collab.database.pool import Database
from canvas_collab.persistence.journal import Journal
from canvas_collab.persistence.store import LogEntry
from tests.conftest import StartDaemon
from tests.support.clients import Client, typed
from tests.support.databases import TestDatabase
from tests.support.stores import document_store

#: The ways in which a trigger may refuse a row, on purpose or by a fault of its own.
REFUSALS = {
    "it raises": "RAISE EXCEPTION 'no'",
    "it raises with a code of its own": "RAISE EXCEPTION 'no' USING ERRCODE = 'NO001'",
    "it raises with the code for user-defined errors": "RAISE EXCEPTION 'no' USING ERRCODE = '45000'",
    "it raises with PL/pgSQL's general code": "RAISE plpgsql_error USING MESSAGE = 'no'",
    "it raises with SQL's own code for triggers": "RAISE triggered_action_exception USING MESSAGE = 'no'",
    "it raises as a view would": "RAISE with_check_option_violation USING MESSAGE = 'no'",
    "it raises as a constraint would": "RAISE check_violation USING MESSAGE = 'no'",
    "it raises as a function in another language would": "RAISE external_routine_exception USING MESSAGE = 'no'",
    "it asserts": "ASSERT false, 'no'",
    "it finds no row": "SELECT id INTO STRICT found FROM collab.yjs_document WHERE id = 'no'",
    "it finds too many rows": "SELECT id INTO STRICT found FROM unnest(ARRAY['no', 'no']) AS id",
    "it expects one row and there are more": "found := (SELECT id FROM unnest(ARRAY['no', 'no']) AS id)",
    "it has no case for it": "CASE WHEN false THEN found := 'no'; END CASE",
    "it divides by zero": "found := (1 / 0)::text",
    "it ends without having returned": "NULL",
}

#: The errors that a trigger may raise which are those of a database that is not available to any update.
OUTAGES = {
    "it raises missing privileges": "RAISE insufficient_privilege USING MESSAGE = 'no'",
    "it raises a full disk": "RAISE disk_full USING MESSAGE = 'no'",
    "it uses a table that does not exist": "SELECT id INTO found FROM gone",
}


def refuse_poison(database: TestDatabase, statement: str) -> None:
    """Create a trigger that runs a statement if an update is ``poison``."""
    database.query(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE found text; BEGIN "
        f"IF NEW.update = 'poison'::bytea THEN {statement}; ELSE RETURN NEW; END IF; END $$;"
        "CREATE TRIGGER refuse BEFORE INSERT ON yjs_update_log FOR EACH ROW EXECUTE FUNCTION refuse()"
    )


@pytest.mark.parametrize("statement", REFUSALS.values(), ids=REFUSALS.keys())
@pytest_twisted.ensureDeferred
async def test_an_update_that_a_trigger_refuses_in_whatever_way_delays_no_other(
    database: TestDatabase, statement: str
) -> None:
    refuse_poison(database, statement)
    pool = Database(reactor, database.url, 1)
    store = document_store(pool, prepare_database(database.url, migrate=True))
    journal = Journal(reactor, store, 0, 10**6, lambda sizes: None, Counters())
    pool.startService()
    try:
        for number in range(4):
            journal.append(LogEntry("bad", "nobody", b"poison" if number == 1 else b"well"))
            journal.append(LogEntry("good", "nobody", b"well"))
        await journal.when_committed("good").addTimeout(10, reactor)
        assert (journal.unsaved, journal.problem) == (1, None)
        assert database.query("SELECT count(*) FROM yjs_update_log") == [(7,)]
    finally:
        for call in journal._postponed._timers.values():
            call.cancel()
        pool.stopService()


@pytest.mark.parametrize("statement", OUTAGES.values(), ids=OUTAGES.keys())
@pytest_twisted.ensureDeferred
async def test_an_error_that_may_concern_every_update_is_no_refusal(database: TestDatabase, statement: str) -> None:
    refuse_poison(database, statement)
    pool = Database(reactor, database.url, 1)
    store = document_store(pool, prepare_database(database.url, migrate=True))
    pool.startService()
    try:
        with pytest.raises((StatementFailed, DatabaseUnavailable)):
            await store.append([LogEntry("bad", "nobody", b"poison")])
    finally:
        pool.stopService()


def test_a_daemon_saves_every_update_but_the_one_that_a_trigger_refuses(
    database: TestDatabase, start_daemon: StartDaemon
) -> None:
    ada = database.add_user("ada")
    for name in ("one", "two"):
        database.add_diagram(name, ada)
    database.query(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF position('poison'::bytea IN NEW.update) > 0 THEN RAISE EXCEPTION 'no poison'; END IF; RETURN NEW; END $$"
    )
    database.query("CREATE TRIGGER refuse BEFORE INSERT ON yjs_update_log FOR EACH ROW EXECUTE FUNCTION refuse()")
    daemon = start_daemon(database, JOURNAL_INTERVAL_MS=200)

    with Client(daemon, "one", ada) as one, Client(daemon, "two", ada) as two:
        for number in range(20):
            one.edit(typed("poison" if number == 7 else f"{number} "))
            two.edit(typed(f"{number} "))
        refused = daemon.wait_for_event("update refused", room="diagram-one", user=ada.id)
        assert "no poison" in refused["reason"]
        daemon.wait_until(lambda: daemon.get("/health")[1]["unsaved_updates"] == 1)
        assert database.query("SELECT count(*) FROM yjs_update_log") == [(39,)]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ("ADD CHECK (octet_length(update) < 5)", ValuesRefused),
        ("ADD CHECK (octet_length(update) / 0 > 1)", ValuesRefused),
        ("RENAME COLUMN update TO content", StatementFailed),
        ("ALTER COLUMN update TYPE integer USING 0", StatementFailed),
    ],
)
@pytest_twisted.ensureDeferred
async def test_the_message_of_a_failed_append_has_nothing_of_the_update(
    database: TestDatabase, change: str, error: type[Exception]
) -> None:
    pool = Database(reactor, database.url, 1)
    store = document_store(pool, prepare_database(database.url, migrate=True))
    pool.startService()
    database.query(f"ALTER TABLE yjs_update_log {change}")
    update = b"the content of a document"
    try:
        with pytest.raises(error) as raised:
            await store.append([LogEntry("secret", "nobody", update)])
    finally:
        pool.stopService()
    assert str(raised.value)
    for content in (update.decode(), update.hex()):
        assert content[:8] not in str(raised.value)
        assert content[:8] not in Failure(raised.value).getTraceback()
