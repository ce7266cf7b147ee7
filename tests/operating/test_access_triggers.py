"""The shipped triggers: which changes of the application's tables notify the daemon, and of whom."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg2
import pytest

from tests.support.access_triggers import SCRIPT, Listener, add_access_triggers
from tests.support.daemons import ROOT
from tests.support.databases import TestDatabase, User


@pytest.fixture
def ada(database: TestDatabase) -> User:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    add_access_triggers(database)
    return ada


@pytest.fixture
def listener(database: TestDatabase, ada: User) -> Iterator[Listener]:
    with Listener(database) as listener:
        yield listener


def test_each_change_of_access_is_notified_with_the_user_or_the_diagram(
    database: TestDatabase, ada: User, listener: Listener
) -> None:
    bob = database.add_user("bob")
    member = "INSERT INTO diagram_member VALUES ('one', %s, 'viewer')"
    assert listener.run(member, bob.id) == [f"user:{bob.id}"]
    assert listener.run("UPDATE diagram_member SET role = 'editor'") == [f"user:{bob.id}"]
    assert listener.run("UPDATE diagram_member SET user_id = %s", ada.id) == sorted(
        [f"user:{ada.id}", f"user:{bob.id}"]
    )
    assert listener.run("DELETE FROM diagram_member") == [f"user:{ada.id}"]
    assert listener.run("UPDATE diagram SET owner_id = %s", bob.id) == ["diagram:one"]
    assert listener.run('UPDATE session SET "expiresAt" = now() WHERE token = %s', bob.token) == [f"user:{bob.id}"]
    assert listener.run("DELETE FROM session WHERE token = %s", bob.token) == [f"user:{bob.id}"]
    assert listener.run("DELETE FROM diagram") == ["diagram:one"]
    assert listener.run('DELETE FROM "user" WHERE id = %s', ada.id) == [f"user:{ada.id}"]
    assert listener.run("TRUNCATE diagram_member") == [""]
    assert not listener.warnings


def test_other_changes_notify_nobody(database: TestDatabase, ada: User, listener: Listener) -> None:
    bob = database.add_user("bob")
    database.grant("one", bob, "viewer")
    for statement in (
        "UPDATE diagram_member SET role = 'viewer'",
        "UPDATE diagram SET name = 'another'",
        'UPDATE session SET "updatedAt" = now(), "userAgent" = \'a browser\'',
        'UPDATE "user" SET name = \'Somebody\', "updatedAt" = now()',
        "DELETE FROM diagram_member WHERE false",
        "INSERT INTO session SELECT 'id', now(), 'token', now(), now(), '', '', \"userId\" FROM session LIMIT 1",
    ):
        assert listener.run(statement) == [], statement


def test_roles_that_two_diagrams_exchange_are_notified(database: TestDatabase, ada: User, listener: Listener) -> None:
    bob = database.add_user("bob")
    database.add_diagram("two", ada, viewer=bob)
    database.grant("one", bob, "editor")
    exchange = "UPDATE diagram_member SET role = CASE role WHEN 'viewer' THEN 'editor' ELSE 'viewer' END"
    assert listener.run(exchange) == [f"user:{bob.id}"]


def test_a_statement_about_many_users_and_an_id_that_is_too_long_notify_of_everybody(
    database: TestDatabase, ada: User, listener: Listener
) -> None:
    users = (
        'INSERT INTO "user" (id, name, email, "emailVerified") '
        "SELECT 'many-' || number, '', number, true FROM generate_series(1, 101) AS number"
    )
    listener.run(users)
    listener.run("INSERT INTO diagram VALUES (repeat('x', 300), %s, '')", ada.id)
    listener.run("ALTER TABLE diagram DROP CONSTRAINT diagram_pkey CASCADE")
    listener.run("INSERT INTO diagram VALUES (repeat('x', 9000), %s, '')", ada.id)
    assert listener.run("INSERT INTO diagram_member SELECT 'one', id, 'viewer' FROM \"user\"") == [""]
    assert listener.run("DELETE FROM diagram WHERE length(id) > 1000") == [""]
    assert len(listener.run("DELETE FROM \"user\" WHERE id LIKE 'many-_'")) == 9


def test_no_payload_has_a_token(database: TestDatabase, ada: User, listener: Listener) -> None:
    payloads = listener.run("UPDATE session SET token = 'another'") + listener.run("DELETE FROM session")
    assert payloads
    assert not any(ada.token in payload or "another" in payload for payload in payloads)


def test_the_script_can_be_run_again_and_the_triggers_removed(
    database: TestDatabase, ada: User, listener: Listener
) -> None:
    add_access_triggers(database)
    add_access_triggers(database)
    assert listener.run("UPDATE session SET token = 'another'") == [f"user:{ada.id}"]
    database.query("SELECT collab_unwatch_access('session')")
    assert listener.run("DELETE FROM session") == []


def test_a_column_that_was_renamed_later_fails_no_statement_of_the_application(
    database: TestDatabase, ada: User, listener: Listener
) -> None:
    database.query('ALTER TABLE session RENAME "userId" TO holder')
    assert listener.run("DELETE FROM session") == [""]
    assert database.query("SELECT count(*) FROM session") == [(0,)]
    assert any("collab_notify_access on session" in warning for warning in listener.warnings)


def test_a_mistake_is_an_error_when_the_triggers_are_made(database: TestDatabase, ada: User) -> None:
    with pytest.raises(psycopg2.Error, match="has no column owner, since"):
        database.query("SELECT collab_watch_access('diagram', 'diagram', 'owner', ARRAY['id', 'since'])")
    with pytest.raises(psycopg2.Error, match="the kind is"):
        database.query("SELECT collab_watch_access('diagram', 'session', 'id')")


def test_tables_of_drizzle_with_plural_names_are_found(empty_database: TestDatabase) -> None:
    empty_database.query(
        """
        CREATE TABLE users (id text PRIMARY KEY, name text);
        CREATE TABLE sessions (id text, token text, user_id text REFERENCES users ON DELETE CASCADE,
                               expires_at timestamp, updated_at timestamp);
        INSERT INTO users VALUES ('ada');
        INSERT INTO sessions VALUES ('1', 'secret', 'ada', now(), now());
        """
    )
    add_access_triggers(empty_database)
    with Listener(empty_database) as listener:
        assert listener.run("UPDATE sessions SET updated_at = NULL") == []
        assert listener.run("UPDATE sessions SET expires_at = 'epoch'") == ["user:ada"]
        assert listener.run("DELETE FROM users") == ["user:ada"]


def test_the_tables_of_the_migrations_are_found_in_a_schema_of_their_own(database: TestDatabase) -> None:
    ada, bob = database.add_user("ada"), database.add_user("bob")
    database.add_diagram("one", ada, viewer=bob)
    database.query("CREATE SCHEMA IF NOT EXISTS collab")
    for table in ("diagram", "diagram_member"):
        database.query(f"ALTER TABLE IF EXISTS public.{table} SET SCHEMA collab")
    # A table of the application that is not about access.
    database.query("CREATE TABLE public.diagram (id text, kind text)")
    add_access_triggers(database)
    with Listener(database) as listener:
        assert listener.run("INSERT INTO public.diagram VALUES ('x')") == []
        assert listener.run("UPDATE collab.diagram_member SET role = 'editor'") == [f"user:{bob.id}"]
        assert listener.run("DELETE FROM collab.diagram") == sorted(["diagram:one", f"user:{bob.id}"])


def test_the_tables_of_the_migrations_in_another_schema_can_be_watched(database: TestDatabase) -> None:
    ada, bob = database.add_user("ada"), database.add_user("bob")
    database.add_diagram("one", ada, viewer=bob)
    [(schema,)] = database.query(
        "SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = 'diagram_member'::regclass"
    )
    database.query("CREATE SCHEMA another")
    for table in ("diagram", "diagram_member"):
        database.query(f"ALTER TABLE {schema}.{table} SET SCHEMA another")
    add_access_triggers(database)
    for watching in re.findall(r"^-- (SELECT .*'another\..*;)$", SCRIPT.read_text(encoding="utf-8"), re.MULTILINE):
        database.query(watching)
    with Listener(database) as listener:
        assert listener.run("UPDATE another.diagram_member SET role = 'editor'") == [f"user:{bob.id}"]
        assert listener.run("UPDATE another.diagram SET owner_id = %s", bob.id) == ["diagram:one"]


def test_without_tables_of_better_auth_the_script_says_so(empty_database: TestDatabase) -> None:
    with pytest.raises(psycopg2.Error, match="there are no tables"):
        add_access_triggers(empty_database)


def test_the_documented_tables_of_an_application_can_be_watched(empty_database: TestDatabase) -> None:
    page = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    [tables] = re.findall(r"^```sql\n(CREATE TABLE project .*?)^```$", page, re.MULTILINE | re.DOTALL)
    [watching] = re.findall(r"^```sql\n(SELECT collab_watch_access.*?)^```$", page, re.MULTILINE | re.DOTALL)
    empty_database.create_auth_tables()
    empty_database.query(tables)
    ada, bob = empty_database.add_user("ada"), empty_database.add_user("bob")
    drawing = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
    add_access_triggers(empty_database)
    empty_database.query(watching)
    with Listener(empty_database) as listener:
        assert listener.run("INSERT INTO project VALUES (1, %s)", ada.id) == [f"user:{ada.id}"]
        assert listener.run("INSERT INTO drawing VALUES (%s, 1, false)", drawing) == [f"diagram:{drawing}"]
        assert listener.run("INSERT INTO project_member VALUES (1, %s, 'read')", bob.id) == [f"user:{bob.id}"]
        assert listener.run("UPDATE project_member SET permission = 'write'") == [f"user:{bob.id}"]
        assert listener.run("UPDATE drawing SET archived = true") == [f"diagram:{drawing}"]
