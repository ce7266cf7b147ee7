"""The schema of the daemon's tables: their own, or where an earlier version has created them."""

from __future__ import annotations

import re

import pytest

from canvas_collab.config.settings import Settings
from canvas_collab.database.errors import UnsuitableDatabase
from canvas_collab.database.migrations import prepare_database
from canvas_collab.database.tables import DEFAULT_SCHEMA, Tables
from tests.conftest import StartDaemon
from tests.support.clients import Client, typed
from tests.support.commands import run
from tests.support.daemons import ROOT
from tests.support.databases import TestDatabase


@pytest.fixture
def auth_database(empty_database: TestDatabase) -> TestDatabase:
    """A database with Better Auth's tables, and none of the daemon's."""
    empty_database.create_auth_tables()
    return empty_database


def test_the_default_of_the_setting_is_the_default_schema() -> None:
    assert Settings().database.schema == DEFAULT_SCHEMA


def test_the_names_of_tables_are_quoted() -> None:
    assert Tables('My "own"').name("yjs_document") == '"My ""own"""."yjs_document"'


@pytest.mark.parametrize("schema", ["public", "drawings"])
def test_documents_are_edited_stored_and_read_by_commands_in_any_schema(
    auth_database: TestDatabase, start_daemon: StartDaemon, schema: str
) -> None:
    auth_database.migrate(schema)
    ada = auth_database.add_user("ada")
    auth_database.query(f"INSERT INTO {schema}.diagram (id, owner_id, name) VALUES ('one', %s, 'one')", (ada.id,))
    daemon = start_daemon(auth_database, DATABASE_SCHEMA=schema)
    with Client(daemon, "one", ada) as client:
        client.edit(typed("drawn"))
        client.flush()
    daemon.stop()
    assert auth_database.query(f"SELECT count(*) FROM {schema}.yjs_update_log") == [(1,)]
    assert auth_database.query("SELECT to_regclass('collab.yjs_document')") == [(None,)]
    listed = run("documents", DATABASE_URL=auth_database.url, DATABASE_SCHEMA=schema)
    assert b"diagram-one" in listed.stdout


@pytest.mark.parametrize("schema", ["public", "Own schema"])
def test_tables_that_an_earlier_version_created_stay_where_they_are(
    auth_database: TestDatabase, start_daemon: StartDaemon, schema: str
) -> None:
    auth_database.query(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
    auth_database.migrate(schema)
    ada = auth_database.add_user("ada")
    auth_database.query(f"""INSERT INTO "{schema}".diagram (id, owner_id, name) VALUES ('one', %s, 'one')""", (ada.id,))
    daemon = start_daemon(auth_database)
    with Client(daemon, "one", ada) as client:
        client.edit(typed("drawn"))
        client.flush()
    daemon.stop()
    assert auth_database.query(f'SELECT count(*) FROM "{schema}".yjs_update_log') == [(1,)]
    assert auth_database.query("SELECT count(*) FROM pg_namespace WHERE nspname = 'collab'") == [(0,)]


def test_a_copy_of_a_table_in_a_schema_outside_the_search_path_is_not_taken_for_the_daemons(
    auth_database: TestDatabase,
) -> None:
    auth_database.query("CREATE SCHEMA copies; CREATE TABLE copies.yjs_document (id TEXT)")
    assert prepare_database(auth_database.url, migrate=True).tables == Tables("collab")


def test_of_several_schemas_with_tables_the_setting_decides(auth_database: TestDatabase) -> None:
    for schema in ("one", "two"):
        auth_database.query(f"CREATE SCHEMA {schema}; SET search_path = {schema}; CREATE TABLE yjs_document (id TEXT)")
        auth_database.query(f"CREATE TABLE {schema}.collab_migration (number INTEGER)")
    with pytest.raises(UnsuitableDatabase, match=r"several schemas: one, two\. Set DATABASE_SCHEMA"):
        prepare_database(auth_database.url, True)


def test_an_applications_own_view_takes_precedence_over_the_daemons(auth_database: TestDatabase) -> None:
    assert '"collab"."collab_access"' in prepare_database(auth_database.url, migrate=True).role_query
    auth_database.query(
        "CREATE VIEW public.collab_access AS SELECT id AS diagram_id, id AS user_id, 'editor'::text AS role "
        'FROM "user"'
    )
    assert '"public"."collab_access"' in prepare_database(auth_database.url, migrate=True).role_query


def test_prismas_parameter_names_the_schema_of_the_applications_tables(empty_database: TestDatabase) -> None:
    empty_database.create_auth_tables()
    empty_database.query("ALTER SCHEMA public RENAME TO app; CREATE SCHEMA public")
    with pytest.raises(UnsuitableDatabase, match="There is no table"):
        prepare_database(empty_database.url, migrate=True)
    catalogue = prepare_database(f"{empty_database.url}&schema=app", migrate=True)
    assert (catalogue.user_table, catalogue.tables) == ('"app"."user"', Tables("collab"))


def test_a_role_that_may_not_create_the_schema_is_told_what_an_owner_must_run(auth_database: TestDatabase) -> None:
    auth_database.query('CREATE ROLE "draw-er" LOGIN; GRANT REFERENCES, SELECT ON "user", session TO "draw-er"')
    url = auth_database.url.replace("//postgres:", "//draw-er:", 1)
    try:
        with pytest.raises(UnsuitableDatabase) as caught:
            prepare_database(url, migrate=True)
        [sentence] = caught.value.problems
        assert sentence.startswith("The role draw-er may not create the schema collab.")
        auth_database.query(sentence.split("run: ")[1])
        assert prepare_database(url, migrate=True).tables == Tables("collab")
    finally:
        auth_database.query('DROP OWNED BY "draw-er" CASCADE; DROP ROLE "draw-er"')


def test_the_documented_statements_move_the_tables_of_an_earlier_version(
    auth_database: TestDatabase, start_daemon: StartDaemon
) -> None:
    auth_database.migrate("public")
    ada = auth_database.add_user("ada")
    auth_database.add_diagram("one", ada)
    daemon = start_daemon(auth_database)
    with Client(daemon, "one", ada) as client:
        client.edit(typed("drawn"))
        client.flush()
    daemon.stop()
    page = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    [statements] = re.findall(r"^```sql\n(CREATE SCHEMA collab;.*?)^```$", page, re.MULTILINE | re.DOTALL)
    auth_database.query(statements)
    daemon = start_daemon(auth_database)
    with Client(daemon, "one", ada) as client:
        assert client.text == "drawn"
        client.edit(typed("more "))
        client.flush()
    daemon.stop()
    assert auth_database.query("SELECT count(*) FROM collab.yjs_update_log") == [(2,)]
