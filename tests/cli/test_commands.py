"""The command `canvas-collab`: each of its parts on a real database, some of them beside a daemon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import click
import pytest
from pycrdt import Doc, Map, Text

from canvas_collab.cli.main import cli
from canvas_collab.cli.timespec import parse_timespec
from canvas_collab.document.document import Document
from canvas_collab.protocol.update import decode_update
from tests.conftest import StartDaemon
from tests.support.clients import Client
from tests.support.daemons import ROOT, Daemon
from tests.support.databases import TestDatabase, User

Command = Callable[..., str]


def run(*arguments: str, given: bytes | None = None, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command as an operator would."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR")}
    kept.update({name: value for name, value in os.environ.items() if name.startswith("COV")})
    return subprocess.run(
        [sys.executable, "-m", "canvas_collab", *arguments],
        input=given,
        capture_output=True,
        cwd=ROOT,
        env={**kept, "PYTHONPATH": str(ROOT), "BETTER_AUTH_SECRET": "x" * 32, **environment},
        timeout=60,
    )


@pytest.fixture
def command(database: TestDatabase) -> Command:
    """Runs the command on the test's database: ``command("documents", status=1)``; returns what it printed."""

    def run_it(*arguments: str, status: int = 0, given: bytes | None = None) -> str:
        done = run(*arguments, given=given, DATABASE_URL=database.url)
        assert done.returncode == status, done.stderr.decode()
        return (done.stderr if status else done.stdout).decode()

    return run_it


@pytest.fixture
def ada(database: TestDatabase) -> User:
    ada = database.add_user("ada")
    for diagram in ("one", "two"):
        database.add_diagram(diagram, ada)
    return ada


class Author:
    """Somebody who edits a text, a recorded update at a time."""

    def __init__(self) -> None:
        self.doc: Doc[Any] = Doc()
        self.text = self.doc.get("text", type=Text)
        self._updates: list[bytes] = []
        self._subscription = self.doc.observe(lambda event: self._updates.append(event.update))

    def write(self, text: str) -> bytes:
        self.text += text
        return self._updates[-1]

    def erase(self) -> bytes:
        self.text.clear()
        return self._updates[-1]


def edit(daemon: Daemon, user: User, *updates: bytes, diagram: str = "one") -> None:
    """Make edits, and return when everything is on disk and nobody is there any more."""
    with Client(daemon, diagram, user) as client:
        for update in updates:
            client.edit(update)
        client.flush()
    daemon.wait_until(lambda: daemon.get("/health")[1]["documents"] == 0)


def now() -> str:
    return datetime.now(timezone.utc).isoformat()


# Looking


def test_documents_are_listed_with_size_time_and_people(
    database: TestDatabase, start_daemon: StartDaemon, command: Command, ada: User
) -> None:
    daemon = start_daemon(database)
    edit(daemon, ada, Author().write("hello"), diagram="two")
    edit(daemon, ada, Author().write("hello"))
    lines = command("documents").splitlines()
    assert [line.split()[0] for line in lines] == ["diagram-one", "diagram-two"]
    assert lines[0].endswith("1 person")
    found = json.loads(command("documents", "--json"))
    assert [(document["room"], document["unmerged"], document["people"]) for document in found] == [
        ("diagram-one", 0, 1),
        ("diagram-two", 0, 1),
    ]
    assert all(document["size"] > 5 for document in found)


def test_history_says_who_edited_how_much_and_when(
    database: TestDatabase, start_daemon: StartDaemon, command: Command, ada: User
) -> None:
    bob = database.add_user("bob")
    database.grant("one", bob, "editor")
    daemon = start_daemon(database)
    author = Author()
    edit(daemon, ada, author.write("a"), author.write("b"))
    edit(daemon, bob, author.write("c"))
    found = json.loads(command("history", "one", "--by", "day", "--json"))
    assert {(entry["name"], entry["updates"]) for entry in found} == {("ada", 2), ("bob", 1)}
    assert "ada  2 updates" in command("history", "diagram-one")
    assert "There is no document diagram-nowhere." in command("history", "nowhere", status=1)


def test_a_document_is_exported_as_an_update_and_as_json_now_and_as_it_was(
    database: TestDatabase, start_daemon: StartDaemon, command: Command, ada: User, tmp_path: Path
) -> None:
    daemon = start_daemon(database)
    author = Author()
    edit(daemon, ada, author.write("first"))
    before = now()
    edit(daemon, ada, author.write(" second"))
    path = tmp_path / "one.update"
    command("export", "one", "--output", str(path))
    exported: Doc[Any] = Doc()
    exported.apply_update(path.read_bytes())
    assert str(exported.get("text", type=Text)) == "first second"
    assert json.loads(command("export", "one", "--format", "json")) == {"text": {"text": [{"insert": "first second"}]}}
    earlier = json.loads(command("export", "one", "--format", "json", "--at", before))
    assert earlier == {"text": {"text": [{"insert": "first"}]}}
    assert json.loads(command("export", "one", "--format", "json", "--at", "1h")) == {}
    assert "The log goes back to" in command("export", "one", "--at", "8 days ago", status=1)


def test_everything_that_is_stored_is_verified(
    database: TestDatabase, start_daemon: StartDaemon, command: Command, ada: User
) -> None:
    daemon = start_daemon(database)
    edit(daemon, ada, Author().write("good"))
    edit(daemon, ada, Author().write("to be damaged"), diagram="two")
    assert command("verify").strip() == "2 documents and 2 log entries checked, 0 problems."
    database.query("UPDATE yjs_document SET data = data || '\\x00' WHERE id = 'diagram-two'")
    database.query("UPDATE yjs_update_log SET update = '\\xff' WHERE document_id = 'diagram-two'")
    done = run("verify", "--json", DATABASE_URL=database.url)
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert (found["documents"], found["entries"]) == (2, 2)
    assert {problem["room"] for problem in found["problems"]} == {"diagram-two"}
    assert len(found["problems"]) == 2
    assert run("verify", "one", DATABASE_URL=database.url).returncode == 0


# Changing


def test_what_is_imported_is_an_edit_that_whoever_is_there_sees(
    database: TestDatabase, start_daemon: StartDaemon, command: Command, ada: User, tmp_path: Path
) -> None:
    daemon = start_daemon(database)
    path = tmp_path / "update"
    path.write_bytes(Author().write("imported"))
    with Client(daemon, "one", ada) as client:
        command("import", "one", str(path), "--user", ada.id)
        client.wait_for("imported")
    assert database.query("SELECT user_id FROM yjs_update_log") == [(ada.id,)]
    assert "no Yjs update" in command("import", "one", "-", given=b"\xff", status=1)
    assert "There is no user nobody." in command("import", "one", str(path), "--user", "nobody", status=1)
    assert command("import", "one", "-", given=b"\x00\x00").strip() == "There is nothing in it."


def test_a_restored_document_is_what_it_was_for_everybody_who_has_it_open_and_restoring_again_undoes_that(
    database: TestDatabase, start_daemon: StartDaemon, command: Command, ada: User
) -> None:
    daemon = start_daemon(database)
    author = Author()
    edit(daemon, ada, author.write("as it was"))
    good = now()
    edit(daemon, ada, author.erase(), author.write("vandalised"))
    bad = now()
    with Client(daemon, "one", ada) as one, Client(daemon, "one", ada) as two, Client(daemon, "one", ada) as three:
        assert one.text == "vandalised"
        assert "would be as it was" in command("restore", "one", "--at", good, "--dry-run")
        assert "is as it was" in command("restore", "one", "--at", good)
        for client in (one, two, three):
            client.wait_for("as it was")
        assert "shows what it showed then" in command("restore", "one", "--at", good)
        command("restore", "one", "--at", bad)
        for client in (one, two, three):
            client.wait_for("vandalised")
    # Nothing of its history is gone.
    assert database.query("SELECT count(*) FROM yjs_update_log") == [(5,)]


def test_a_damaged_document_is_repaired_from_its_log(
    database: TestDatabase, start_daemon: StartDaemon, command: Command, ada: User, tmp_path: Path
) -> None:
    daemon = start_daemon(database)
    author = Author()
    edit(daemon, ada, author.write("kept "), author.write("in the log"))
    database.query("UPDATE yjs_document SET data = '\\xff'")
    assert "--keep FILE, or --discard" in command("repair", "one", status=2)
    kept = tmp_path / "damaged"
    assert "of 2 log entries" in command("repair", "one", "--keep", str(kept))
    assert kept.read_bytes() == b"\xff"
    with Client(daemon, "one", ada) as client:
        assert client.text == "kept in the log"
    assert command("verify").endswith("0 problems.\n")


def test_a_snapshot_whose_checksum_alone_is_wrong_can_be_trusted(
    database: TestDatabase, start_daemon: StartDaemon, command: Command, ada: User
) -> None:
    daemon = start_daemon(database)
    edit(daemon, ada, Author().write("older than the log"))
    database.query("DELETE FROM yjs_update_log")
    database.query("UPDATE yjs_document SET checksum = '\\x00'")
    assert "damaged" in command("export", "one", status=1)
    command("repair", "one", "--trust-snapshot", "--discard")
    assert "older than the log" in command("export", "one", "--format", "json")
    database.query("UPDATE yjs_document SET data = '\\xff'")
    assert "cannot be read at all" in command("repair", "one", "--trust-snapshot", "--discard", status=1)


def test_tables_are_brought_up_to_date(empty_database: TestDatabase) -> None:
    def migrate(*arguments: str) -> tuple[int, str]:
        done = run("migrate", *arguments, DATABASE_URL=empty_database.url)
        return done.returncode, (done.stdout + done.stderr).decode()

    status, said = migrate("--check")
    assert (status, 'no table "user"' in said) == (1, True)
    empty_database.create_auth_tables()
    status, said = migrate("--check")
    assert (status, "lacks the migrations" in said) == (1, True)
    assert migrate() == (0, "The database was brought up to date.\n")
    assert migrate("--check") == (0, "The database is up to date.\n")


# Backups


def test_a_backup_is_read_back_whole_and_replaces_nothing_unasked(
    database: TestDatabase, start_daemon: StartDaemon, command: Command, ada: User, tmp_path: Path
) -> None:
    daemon = start_daemon(database)
    author = Author()
    edit(daemon, ada, author.write("backed up"))
    path = str(tmp_path / "backup")
    assert "Written to" in command("backup", path)
    edit(daemon, ada, author.write(", and more"))
    daemon.stop()
    assert "--replace would delete them" in command("restore-backup", path, status=1)
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


def test_what_somebody_edited_whose_account_is_gone_is_read_back_as_nobodys(
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


def test_a_backup_is_read_back_in_whichever_schema_the_tables_are(
    empty_database: TestDatabase, database: TestDatabase, command: Command, tmp_path: Path
) -> None:
    # The tables are in public, as another database had them; now the same are in a schema of their own.
    update = Author().write("in public, 5 %, \\.\n\\")
    database.query("INSERT INTO yjs_document (id, data) VALUES ('diagram-a\tb\\', %s)", (update,))
    database.query("INSERT INTO yjs_update_log (document_id, update) SELECT id, data FROM yjs_document")
    path = str(tmp_path / "backup")
    command("backup", path)
    [[name]] = database.query("SELECT current_database()")
    database.query('DROP SCHEMA public CASCADE; CREATE SCHEMA "Own schema"')
    database.query(f'ALTER DATABASE {name} SET search_path = "Own schema"')
    database.create_auth_tables()
    database.migrate()
    command("restore-backup", path)
    for table in ("yjs_document", "yjs_update_log"):
        assert database.query(f'SELECT count(*) FROM "Own schema".{table}') == [(1,)]
    assert database.query("SELECT data FROM yjs_document")[0][0].tobytes() == update
    again = str(tmp_path / "again")
    command("backup", again)
    command("restore-backup", again, "--replace")
    database.query("INSERT INTO yjs_update_log (document_id, update) SELECT id, data FROM yjs_document")
    assert database.query("SELECT count(*), max(id) > min(id) FROM yjs_update_log") == [(2, True)]


# Being told what is wrong


def test_what_is_wrong_is_one_sentence() -> None:
    done = run("documents", DATABASE_URL="postgresql://127.0.0.1:1/nowhere")
    assert done.returncode == 1
    assert done.stderr.startswith(b"Error: The database of DATABASE_URL cannot be reached")
    assert b"Traceback" not in done.stderr
    done = run("documents", DATABASE_URL="mysql://x", WS_PORT="x")
    assert done.stderr.count(b"must be") == 2
    done = run("documents", DATA_DIR="/nonexistent")
    assert done.stderr == b"Error: Set DATABASE_URL: there is no embedded database here either.\n"


NOW = datetime(2026, 3, 4, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2h", NOW - timedelta(hours=2)),
        ("-90s", NOW - timedelta(seconds=90)),
        ("3 days ago", NOW - timedelta(days=3)),
        ("1 minute ago", NOW - timedelta(minutes=1)),
        ("2w", NOW - timedelta(weeks=2)),
        ("2026-03-04T11:00:00Z", NOW - timedelta(hours=1)),
        ("2026-03-04 13:00+02:00", NOW - timedelta(hours=1)),
    ],
)
def test_moments_are_read_as_people_write_them(text: str, moment: datetime) -> None:
    assert parse_timespec(text, NOW) == moment


def test_a_moment_without_a_time_zone_is_of_this_machine() -> None:
    assert parse_timespec("2026-01-02T03:04", NOW) == datetime(2026, 1, 2, 3, 4).astimezone()


@pytest.mark.parametrize("text", ["", "soon", "5", "2026-13-01", "9999-01-01"])
def test_what_is_no_moment_in_the_past_is_refused(text: str) -> None:
    done = run("export", "one", "--at", text)
    assert done.returncode == 2
    assert b"is no time" in done.stderr or b"lies in the future" in done.stderr


def test_the_page_on_the_command_line_has_every_command_and_option() -> None:
    page = (ROOT / "docs" / "command-line.md").read_text()
    for one in cli.commands.values():
        assert f"`{one.name}" in page, one.name
        for parameter in one.params:
            if isinstance(parameter, click.Option):
                for option in parameter.opts:
                    assert option in page, (one.name, option)


def test_what_is_exported_holds_everything(
    database: TestDatabase, start_daemon: StartDaemon, command: Command, ada: User, tmp_path: Path
) -> None:
    daemon = start_daemon(database)
    doc: Doc[Any] = Doc()
    doc["map"] = Map({"a": [1, 2.5, None, True, {"b": "c"}]})
    edit(daemon, ada, doc.get_update())
    path = tmp_path / "update"
    command("export", "one", "-o", str(path))
    assert Document([decode_update(path.read_bytes())]).encode() == Document([decode_update(doc.get_update())]).encode()
    shown: dict[str, Any] = json.loads(command("export", "one", "--format", "json"))
    assert shown == {"map": {"map": {"a": [1, 2.5, None, True, {"b": "c"}]}}}
