"""Preparing a database: migrations, the catalogue, and the problems that are reported."""

from __future__ import annotations

import threading

import pytest

from canvas_collab.database.errors import UnsuitableDatabase
from canvas_collab.database.migrations import available_migrations, prepare_database
from canvas_collab.database.tables import Tables
from tests.support.databases import TestDatabase

OWN_TABLES = {"collab_migration", "yjs_document", "yjs_update_log", "diagram", "diagram_member", "collab_access"}
NUMBERS = [migration.number for migration in available_migrations()]


def applied(database: TestDatabase) -> list[int]:
    return [number for (number,) in database.query("SELECT number FROM collab_migration ORDER BY number")]


def problems(database: TestDatabase, migrate: bool = True) -> str:
    with pytest.raises(UnsuitableDatabase) as caught:
        prepare_database(database.url, migrate)
    return "\n".join(caught.value.problems)


def tables(database: TestDatabase, schema: str = "public") -> set[str]:
    rows = database.query("SELECT table_name FROM information_schema.tables WHERE table_schema = %s", (schema,))
    return {name for (name,) in rows}


@pytest.fixture
def auth_database(empty_database: TestDatabase) -> TestDatabase:
    """A database with Better Auth's tables, and none of the daemon's."""
    empty_database.create_auth_tables()
    return empty_database


def test_a_fresh_database_gets_every_table(auth_database: TestDatabase) -> None:
    before = tables(auth_database)
    prepare_database(auth_database.url, migrate=True)
    assert tables(auth_database, "collab") == OWN_TABLES
    assert tables(auth_database) == before
    assert applied(auth_database) == NUMBERS


def test_migrating_again_changes_nothing(auth_database: TestDatabase) -> None:
    first = prepare_database(auth_database.url, migrate=True)
    assert prepare_database(auth_database.url, migrate=True) == first
    assert prepare_database(auth_database.url, migrate=False) == first


def test_daemons_that_start_together_apply_each_migration_once(auth_database: TestDatabase) -> None:
    failures: list[Exception] = []

    def start() -> None:
        try:
            prepare_database(auth_database.url, migrate=True)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert applied(auth_database) == NUMBERS


def test_a_database_newer_than_the_code_is_refused(database: TestDatabase) -> None:
    database.query("INSERT INTO collab_migration (number, name) VALUES (9999, 'tomorrow')")
    assert "newer" in problems(database)
    assert "9999" in problems(database)


def test_without_permission_to_migrate_the_missing_migrations_are_named(auth_database: TestDatabase) -> None:
    reported = problems(auth_database, migrate=False)
    assert "0001_documents" in reported
    assert "MIGRATE=on" in reported
    assert tables(auth_database, "collab") == set()


def test_without_better_auths_tables_nothing_is_made(empty_database: TestDatabase) -> None:
    reported = problems(empty_database)
    assert '"user"' in reported
    assert '"session"' in reported
    assert "Better Auth" in reported
    assert tables(empty_database) == set()


def test_a_database_that_cannot_be_reached_is_reported_in_one_sentence() -> None:
    with pytest.raises(UnsuitableDatabase) as caught:
        prepare_database("postgresql://nobody@127.0.0.1:1/nothing", migrate=True)
    [sentence] = caught.value.problems
    assert sentence.startswith("The database of DATABASE_URL cannot be reached")
    assert "\n" not in sentence


def test_a_view_of_the_applications_own_is_used_and_no_table_is_made(auth_database: TestDatabase) -> None:
    auth_database.query("CREATE TABLE boards (key TEXT, who TEXT)")
    auth_database.query(
        "CREATE VIEW collab_access (diagram_id, user_id, role) AS SELECT key, who, 'editor'::text FROM boards"
    )
    catalogue = prepare_database(auth_database.url, migrate=True)
    assert "diagram" not in tables(auth_database) | tables(auth_database, "collab")
    assert '"public"."collab_access"' in catalogue.role_query


def test_another_table_named_diagram_is_left_alone_and_the_view_is_required(auth_database: TestDatabase) -> None:
    auth_database.query("CREATE TABLE diagram (id UUID PRIMARY KEY)")
    reported = problems(auth_database)
    assert "collab_access(diagram_id, user_id, role)" in reported
    assert auth_database.query("SELECT * FROM diagram") == []


def test_a_view_with_other_columns_is_refused_by_name(auth_database: TestDatabase) -> None:
    auth_database.query('CREATE VIEW collab_access AS SELECT id AS diagram_id, id AS member FROM "user"')
    reported = problems(auth_database)
    assert "user_id" in reported
    assert "role" in reported
    assert "diagram_id, member" in reported


def test_a_dropped_view_is_reported(database: TestDatabase) -> None:
    database.query("DROP VIEW collab_access")
    assert "There is no view collab_access" in problems(database)


def test_a_session_table_without_its_columns_is_refused_by_name(auth_database: TestDatabase) -> None:
    auth_database.query('ALTER TABLE session RENAME COLUMN "expiresAt" TO until')
    assert "expiresAt or expires_at" in problems(auth_database)


def test_tables_that_are_there_already_keep_what_they_hold(auth_database: TestDatabase) -> None:
    auth_database.query(
        "CREATE TABLE yjs_document "
        "(id TEXT PRIMARY KEY, data BYTEA NOT NULL, updated_at TIMESTAMPTZ NOT NULL DEFAULT now())"
    )
    auth_database.query("INSERT INTO yjs_document (id, data) VALUES ('diagram-old', '\\x0000')")
    catalogue = prepare_database(auth_database.url, migrate=True)
    assert auth_database.query("SELECT id, checksum FROM yjs_document") == [("diagram-old", None)]
    assert catalogue.tables == Tables("public")
    assert tables(auth_database, "collab") == set()


@pytest.mark.parametrize("id_type", ["uuid", "integer", "varchar(36)"])
def test_the_ids_of_users_can_be_of_another_type(empty_database: TestDatabase, id_type: str) -> None:
    empty_database.query(f'CREATE TABLE "user" (id {id_type} PRIMARY KEY)')
    empty_database.query(f"CREATE TABLE session (token TEXT, user_id {id_type}, expires_at TIMESTAMP)")
    catalogue = prepare_database(empty_database.url, migrate=True)
    assert catalogue.user_id_type == {"varchar(36)": "character varying"}.get(id_type, id_type)
    assert "AT TIME ZONE 'UTC'" in catalogue.session_query


def test_tables_in_the_plural_are_found(empty_database: TestDatabase) -> None:
    empty_database.query("CREATE TABLE users (id TEXT PRIMARY KEY)")
    empty_database.query("CREATE TABLE sessions (token TEXT, user_id TEXT, expires_at TIMESTAMPTZ)")
    catalogue = prepare_database(empty_database.url, migrate=True)
    assert catalogue.user_table == '"public"."users"'
    assert '"sessions"' in catalogue.session_query
