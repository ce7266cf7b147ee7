"""Backups of documents, and restoring them."""

from __future__ import annotations

import os
from pathlib import Path

from psycopg2.extensions import parse_dsn

from tests.conftest import StartDaemon
from tests.support.clients import Client
from tests.support.commands import Author, Command, edit, run
from tests.support.databases import TestDatabase, User


def test_a_backup_is_restored_completely_and_replaces_documents_only_if_asked(
    database: TestDatabase, start_daemon: StartDaemon, command: Command, ada: User, tmp_path: Path
) -> None:
    daemon = start_daemon(database)
    author = Author()
    edit(daemon, ada, author.write("backed up"))
    path = str(tmp_path / "backup")
    assert "Written to" in command("backup", path)
    edit(daemon, ada, author.write(", and more"))
    daemon.stop()
    assert "--replace deletes them" in command("restore-backup", path, status=1)
    command("restore-backup", path, "--replace")
    daemon = start_daemon(database)
    with Client(daemon, "one", ada) as client:
        assert client.text == "backed up"
        client.edit(Author().write("goes on"))
        client.flush()
    daemon.wait_until(lambda: database.query("SELECT count(*) FROM yjs_update_log") == [(2,)])
    broken = tmp_path / "broken"
    broken.write_bytes(b"nonsense")
    assert "pg_restore failed" in command("restore-backup", str(broken), "--replace", status=1)
    assert database.query("SELECT count(*) FROM yjs_document") == [(1,)]


def test_edits_of_deleted_users_are_restored_without_a_user(
    database: TestDatabase, start_daemon: StartDaemon, command: Command, ada: User, tmp_path: Path
) -> None:
    bob = database.add_user("bob")
    database.grant("one", bob, "editor")
    daemon = start_daemon(database)
    author = Author()
    edit(daemon, ada, author.write("of ada, "))
    edit(daemon, bob, author.write("of bob"))
    path = str(tmp_path / "backup")
    command("backup", path)
    daemon.stop()
    database.query('DELETE FROM "user" WHERE id = %s', (bob.id,))
    database.query("TRUNCATE yjs_document, yjs_update_log")
    command("restore-backup", path)
    assert database.query("SELECT user_id FROM yjs_update_log ORDER BY id") == [(ada.id,), (None,)]
    assert "of ada, of bob" in command("export", "one", "--format", "json")


def test_a_backup_is_restored_into_whichever_schema_the_tables_are_in(
    empty_database: TestDatabase, database: TestDatabase, command: Command, tmp_path: Path
) -> None:
    # The backup is made of tables in the usual schema; then they are created in another one.
    update = Author().write("in public, 5 %, \\.\n\\")
    database.query("INSERT INTO yjs_document (id, data) VALUES ('diagram-a\tb\\', %s)", (update,))
    database.query("INSERT INTO yjs_update_log (document_id, update) SELECT id, data FROM yjs_document")
    path = str(tmp_path / "backup")
    command("backup", path)
    [[name]] = database.query("SELECT current_database()")
    database.query('DROP SCHEMA public, collab CASCADE; CREATE SCHEMA "Own schema"')
    database.query(f'ALTER DATABASE {name} SET search_path = "Own schema"')
    database.create_auth_tables()
    database.migrate("Own schema")
    command("restore-backup", path)
    for table in ("yjs_document", "yjs_update_log"):
        assert database.query(f'SELECT count(*) FROM "Own schema".{table}') == [(1,)]
    assert database.query("SELECT data FROM yjs_document")[0][0].tobytes() == update
    again = str(tmp_path / "again")
    command("backup", again)
    command("restore-backup", again, "--replace")
    database.query("INSERT INTO yjs_update_log (document_id, update) SELECT id, data FROM yjs_document")
    assert database.query("SELECT count(*), max(id) > min(id) FROM yjs_update_log") == [(2, True)]


def test_the_password_is_not_among_the_arguments_of_pg_dump(database: TestDatabase, tmp_path: Path) -> None:
    program, backup = tmp_path / "pg_dump", tmp_path / "backup"
    program.write_text(
        "#!/bin/sh\n"
        '[ "$1" = --version ] && echo "pg_dump (PostgreSQL) 99" && exit\n'
        f"""printf '%s\\n' "$@" > '{backup}.partial'; printf %s "$PGPASSWORD" > '{tmp_path / "password"}'\n"""
    )
    program.chmod(0o755)
    # The embedded database takes any password.
    url = database.url.replace(":@", ":the%20own%20password@", 1)
    done = run("backup", str(backup), DATABASE_URL=url, PATH=f"{tmp_path}:/usr/bin:/bin")
    assert done.returncode == 0, done.stderr.decode()
    [*_, target] = backup.read_text().splitlines()
    assert parse_dsn(target.removeprefix("--dbname=")) == parse_dsn(database.url)
    assert (tmp_path / "password").read_text() == "the own password"


def test_a_pg_dump_that_fails_late_leaves_the_earlier_backup_and_nothing_beside_it(
    database: TestDatabase, tmp_path: Path
) -> None:
    program = tmp_path / "programs" / "pg_dump"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        "[ \"$1\" = --version ] && { echo 'pg_dump (PostgreSQL) 99.0'; exit; }\n"
        'for argument; do case $argument in --file=*) echo half > "${argument#--file=}";; esac; done\n'
        "echo 'no space left' >&2; exit 1\n"
    )
    program.chmod(0o755)
    file = tmp_path / "backups" / "backup"
    file.parent.mkdir()
    file.write_text("of yesterday")
    done = run("backup", str(file), DATABASE_URL=database.url, PATH=f"{program.parent}:{os.environ['PATH']}")
    assert (done.returncode, "no space left" in done.stderr.decode()) == (1, True)
    assert [(path.name, path.read_text()) for path in file.parent.iterdir()] == [("backup", "of yesterday")]
