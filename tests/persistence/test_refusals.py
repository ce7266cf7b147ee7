"""What the database refuses: which of its errors are about one update, and which are about everybody's."""

from __future__ import annotations

import psycopg2
import pytest
import pytest_twisted
from twisted.internet import reactor

from canvas_collab.database.errors import DatabaseUnavailable
from canvas_collab.database.migrations import prepare_database
from canvas_collab.database.pool import Database
from canvas_collab.persistence.journal import Journal
from canvas_collab.persistence.store import LogEntry
from tests.support.databases import TestDatabase
from tests.support.stores import document_store

#: What a trigger may do about a row that it does not want, or does not know what to do about.
REFUSALS = {
    "it raises": "RAISE EXCEPTION 'no'",
    "it raises with a code of its own": "RAISE EXCEPTION 'no' USING ERRCODE = 'NO001'",
    "it raises with the code that SQL leaves to everybody": "RAISE EXCEPTION 'no' USING ERRCODE = '45000'",
    "it raises with PL/pgSQL's general code": "RAISE plpgsql_error USING MESSAGE = 'no'",
    "it raises with SQL's own code for triggers": "RAISE triggered_action_exception USING MESSAGE = 'no'",
    "it raises as a view would": "RAISE with_check_option_violation USING MESSAGE = 'no'",
    "it raises as a constraint would": "RAISE check_violation USING MESSAGE = 'no'",
    "it raises as a function in another language would": "RAISE external_routine_exception USING MESSAGE = 'no'",
    "it asserts": "ASSERT false, 'no'",
    "it finds no row": "SELECT id INTO STRICT found FROM yjs_document WHERE id = 'no'",
    "it finds too many rows": "SELECT id INTO STRICT found FROM unnest(ARRAY['no', 'no']) AS id",
    "it expects one row and there are more": "found := (SELECT id FROM unnest(ARRAY['no', 'no']) AS id)",
    "it has no case for it": "CASE WHEN false THEN found := 'no'; END CASE",
    "it calculates": "found := (1 / 0)::text",
    "it ends without having returned": "NULL",
}

#: What it may say that is about the database, and not about the row.
OUTAGES = {
    "it says that rights are missing": "RAISE insufficient_privilege USING MESSAGE = 'no'",
    "it says that the disk is full": "RAISE disk_full USING MESSAGE = 'no'",
    "it uses a table that is gone": "SELECT id INTO found FROM gone",
}


def refuse_poison(database: TestDatabase, statement: str) -> None:
    """Have a trigger run a statement where an update is poison."""
    database.query(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE found text; BEGIN "
        f"IF NEW.update = 'poison'::bytea THEN {statement}; ELSE RETURN NEW; END IF; END $$;"
        "CREATE TRIGGER refuse BEFORE INSERT ON yjs_update_log FOR EACH ROW EXECUTE FUNCTION refuse()"
    )


@pytest.mark.parametrize("statement", REFUSALS.values(), ids=REFUSALS.keys())
@pytest_twisted.ensureDeferred
async def test_an_update_that_a_trigger_does_not_let_in_for_whatever_reason_holds_up_no_other(
    database: TestDatabase, statement: str
) -> None:
    refuse_poison(database, statement)
    pool = Database(reactor, database.url, 1)
    store = document_store(pool, prepare_database(database.url, migrate=True))
    journal = Journal(reactor, store, 0, 10**6, lambda sizes: None)
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
async def test_what_may_be_about_everybodys_updates_is_not_taken_for_a_refusal_of_one(
    database: TestDatabase, statement: str
) -> None:
    refuse_poison(database, statement)
    pool = Database(reactor, database.url, 1)
    store = document_store(pool, prepare_database(database.url, migrate=True))
    pool.startService()
    try:
        with pytest.raises((psycopg2.ProgrammingError, DatabaseUnavailable)):
            await store.append([LogEntry("bad", "nobody", b"poison")])
    finally:
        pool.stopService()
