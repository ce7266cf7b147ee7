"""The commands that inspect and change documents, on a database of their own, some of them beside a daemon."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from pycrdt import Doc, Map, Text

from canvas_collab.cli.main import cli
from canvas_collab.document.document import Document
from canvas_collab.protocol.update import decode_update
from tests.conftest import StartDaemon
from tests.support.clients import Client
from tests.support.commands import Author, Command, edit, now, run
from tests.support.daemons import ROOT
from tests.support.databases import TestDatabase, User

# Inspecting


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


def test_an_import_is_an_edit_that_connected_clients_receive(
    database: TestDatabase, start_daemon: StartDaemon, command: Command, ada: User, tmp_path: Path
) -> None:
    daemon = start_daemon(database)
    path = tmp_path / "update"
    path.write_bytes(Author().write("imported"))
    with Client(daemon, "one", ada) as client:
        command("import", "one", str(path), "--user", ada.id)
        client.wait_for("imported")
    assert database.query("SELECT user_id FROM yjs_update_log") == [(ada.id,)]
    assert "not a Yjs update" in command("import", "one", "-", given=b"\xff", status=1)
    assert "There is no user nobody." in command("import", "one", str(path), "--user", "nobody", status=1)
    assert command("import", "one", "-", given=b"\x00\x00").strip() == "The update is empty."


def test_a_restored_document_is_shown_to_connected_clients_and_restoring_again_undoes_it(
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
        assert "would be restored" in command("restore", "one", "--at", good, "--dry-run")
        assert "is restored" in command("restore", "one", "--at", good)
        for client in (one, two, three):
            client.wait_for("as it was")
        assert "has the same content already" in command("restore", "one", "--at", good)
        command("restore", "one", "--at", bad)
        for client in (one, two, three):
            client.wait_for("vandalised")
    # The log still has all entries.
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
    assert "cannot be read" in command("repair", "one", "--trust-snapshot", "--discard", status=1)


def test_tables_are_brought_up_to_date(empty_database: TestDatabase) -> None:
    def migrate(*arguments: str) -> tuple[int, str]:
        done = run("migrate", *arguments, DATABASE_URL=empty_database.url)
        return done.returncode, (done.stdout + done.stderr).decode()

    status, said = migrate("--check")
    assert (status, 'no table "user"' in said) == (1, True)
    empty_database.create_auth_tables()
    status, said = migrate("--check")
    assert (status, "lacks the migrations" in said) == (1, True)
    assert migrate() == (0, "The migrations were applied.\n")
    assert migrate("--check") == (0, "The database is up to date.\n")


# Errors and documentation


def test_an_error_is_one_sentence() -> None:
    done = run("documents", DATABASE_URL="postgresql://127.0.0.1:1/nowhere")
    assert done.returncode == 1
    assert done.stderr.startswith(b"Error: The database of DATABASE_URL cannot be reached")
    assert b"Traceback" not in done.stderr
    done = run("documents", DATABASE_URL="mysql://x", WS_PORT="x")
    assert done.stderr.count(b"must be") == 2
    done = run("documents", DATA_DIR="/nonexistent")
    assert done.stderr == b"Error: Set DATABASE_URL: there is no embedded database either.\n"


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
