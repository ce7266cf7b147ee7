"""A daemon whose database role has the rights of the operating page, and no others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from canvas_collab.database.errors import UnsuitableDatabase
from canvas_collab.database.migrations import prepare_database
from tests.conftest import StartDaemon
from tests.support.clients import Client, typed
from tests.support.commands import Author, edit, now, run
from tests.support.daemons import ROOT
from tests.support.databases import PostgreSQL, TestDatabase


def documented_grants() -> str:
    """The GRANT statements of the page, which give a role named ``collab`` its rights."""
    page = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    [grants] = re.findall(r"^```sql\n(GRANT .*?)^```$", page, re.MULTILINE | re.DOTALL)
    return str(grants)


@pytest.fixture
def limited(database: TestDatabase) -> Iterator[TestDatabase]:
    """The database as the role ``collab`` reaches it."""
    database.query("CREATE ROLE collab LOGIN")
    try:
        database.query(documented_grants())
        yield TestDatabase(database.url.replace("//postgres:", "//collab:", 1))
    finally:
        database.query("DROP OWNED BY collab CASCADE; DROP ROLE collab")


def problems(database: TestDatabase) -> list[str]:
    with pytest.raises(UnsuitableDatabase) as caught:
        prepare_database(database.url, migrate=False)
    return caught.value.problems


def test_the_documented_rights_are_enough_to_edit_snapshot_prune_and_open_again(
    database: TestDatabase, limited: TestDatabase, start_daemon: StartDaemon
) -> None:
    ada, bob = database.add_user("ada"), database.add_user("bob")
    database.add_diagram("one", ada, viewer=bob)
    settings = {"MIGRATE": "off", "HISTORY_RETENTION": 3600}
    daemon, other = (start_daemon(database, DATABASE_URL=limited.url, **settings) for _ in range(2))
    with Client(daemon, "one", ada) as editor, Client(other, "one", bob) as viewer:
        editor.edit(typed("drawn"))
        viewer.wait_for("drawn")
    for each in (daemon, other):
        each.stop()
    assert database.query("SELECT count(*) FROM yjs_document WHERE length(data) > 10") == [(1,)]
    database.query("UPDATE yjs_update_log SET merged_at = merged_at - interval '1 day'")
    again = start_daemon(database, DATABASE_URL=limited.url, **settings)
    with Client(again, "one", bob) as viewer:
        assert viewer.text == "drawn"
    again.wait_until(lambda: database.query("SELECT count(*) FROM yjs_update_log") == [(0,)])
    again.stop()
    for each in (daemon, other, again):
        assert [event for event in each.events() if event["level"] not in ("debug", "info")] == []


def test_the_documented_rights_are_enough_for_the_commands(
    database: TestDatabase, limited: TestDatabase, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    def command(*arguments: str, given: bytes | None = None) -> str:
        done = run(*arguments, given=given, DATABASE_URL=limited.url)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    daemon = start_daemon(database, DATABASE_URL=limited.url, MIGRATE="off")
    author = Author()
    edit(daemon, ada, author.write("drawn"))
    before = now()
    assert "diagram-one" in command("documents")
    assert "ada" in command("history", "one")
    assert "ada" in command("log", "one")
    assert "drawn" in command("export", "one", "--format", "json")
    command("verify")
    command("import", "one", "-", "--user", ada.id, given=author.write(" and imported"))
    command("import", "two", "-", given=Author().write("new"))
    assert "is restored" in command("restore", "one", "--at", before)
    command("repair", "one", "--discard")
    [[number]] = database.query("SELECT min(id) FROM yjs_update_log")
    command("rebuild", "one", "--without", str(number), "--discard")
    assert "up to date" in command("migrate", "--check")
    command("backup", str(tmp_path / "backup"))


def test_an_hour_with_everything_that_happens_in_it_needs_no_other_right(
    database: TestDatabase, limited: TestDatabase, postgres: PostgreSQL, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    logged_before = len(postgres.log)
    ada, bob, cyd = (database.add_user(name) for name in ("ada", "bob", "cyd"))
    database.add_diagram("one", ada, editor=bob, viewer=cyd)
    settings = {
        "DATABASE_URL": limited.url,
        "MIGRATE": "off",
        "LOG_LEVEL": "debug",
        "SESSION_RECHECK": 1,
        "RECONCILE_INTERVAL": 0.2,
        "HISTORY_RETENTION": 3600,
    }
    daemon, other = (start_daemon(database, **settings) for _ in range(2))

    def command(*arguments: str, given: bytes | None = None) -> None:
        done = run(*arguments, given=given, DATABASE_URL=limited.url)
        assert done.returncode == 0, done.stderr.decode()

    # Edits of many sizes, followed by another daemon; a snapshot that is worth compacting.
    author = Author()
    with Client(daemon, "one", ada) as first, Client(other, "one", bob) as second, Client(daemon, "one", cyd) as third:
        for text in ("small", "large" * 2**17):
            first.edit(author.write(text))
            second.wait_for(str(author.text))
        third.wait_for(str(author.text))
        daemon.wait_until(lambda: any(each["compacted"] for each in daemon.events("snapshot written")))
        # Rechecks: at the interval, and because of a notification; a role, and a session that ends.
        daemon.wait_for_event("connections rechecked")
        database.grant("one", bob, "viewer")
        database.query("SELECT pg_notify('collab_access_changed', 'user:' || %s)", (bob.id,))
        other.wait_for_event("access changed", access="read")
        database.query('UPDATE session SET "expiresAt" = now() WHERE token = %s', (cyd.token,))
        assert third.wait_for_close()[0] == 4401
        # Operators' commands while clients are connected; the last resets the document.
        before = now()
        first.edit(author.write(" and more"))
        second.wait_for(str(author.text))
        command("import", "one", "-", given=author.write(" imported"))
        command("restore", "one", "--at", before)
        command("backup", str(tmp_path / "backup"))
        [[number]] = database.query("SELECT max(id) FROM yjs_update_log")
        command("rebuild", "one", "--without", str(number), "--discard")
        assert first.wait_for_close()[0] == second.wait_for_close()[0] == 4409
    # A restart, after which what is older than the retention is pruned.
    for each in (daemon, other):
        each.stop()
    database.query("UPDATE yjs_update_log SET merged_at = merged_at - interval '1 day'")
    again = start_daemon(database, **settings)
    again.wait_for_event("history pruned")
    with Client(again, "one", ada) as first:
        first.edit(author.write(" again"))
        first.flush()
    again.stop()
    for each in (daemon, other, again):
        assert [event for event in each.events() if event["level"] in ("error", "critical")] == []
    assert [line for line in postgres.log[logged_before:].splitlines() if "permission denied" in line] == []


@pytest.mark.parametrize("grant", documented_grants().strip().splitlines()[:-1])
def test_without_one_of_the_documented_rights_the_daemon_says_which_is_missing(
    database: TestDatabase, limited: TestDatabase, grant: str
) -> None:
    database.query(grant.replace("GRANT", "REVOKE", 1).replace(" TO ", " FROM "))
    found = " ".join(problems(limited))
    assert "permission denied" in found or "Let the owner of the tables run: GRANT" in found
    if "run: " in found:
        database.query(found.split("run: ")[1])
        prepare_database(limited.url, migrate=False)


def test_missing_rights_are_named_in_one_sentence_that_grants_them(
    database: TestDatabase, limited: TestDatabase
) -> None:
    database.query("REVOKE ALL ON ALL TABLES IN SCHEMA collab FROM collab; REVOKE ALL ON SCHEMA collab FROM collab")
    [sentence] = problems(limited)
    assert sentence.startswith("The role collab lacks rights. Let the owner of the tables run: ")
    database.query(f"{sentence.split('run: ')[1]}; GRANT SELECT ON collab.collab_access TO collab")
    prepare_database(limited.url, migrate=False)


@pytest.mark.parametrize(
    "statement",
    [
        'SELECT email FROM "user"',
        "SELECT * FROM account",
        "CREATE TABLE collab.another (id TEXT)",
        "UPDATE session SET \"expiresAt\" = now() + interval '1 year'",
        "INSERT INTO diagram_member VALUES ('one', 'eve', 'editor')",
        "SELECT * FROM diagram_member",
        "DELETE FROM yjs_document",
    ],
)
def test_with_the_documented_rights_nothing_else_can_be_read_or_changed(
    database: TestDatabase, limited: TestDatabase, statement: str
) -> None:
    database.query("CREATE TABLE IF NOT EXISTS account (id TEXT PRIMARY KEY, password TEXT)")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        limited.query(statement)
