"""Importing into a document that has some of the content already, and going back to before."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import StartDaemon
from tests.support.clients import Client
from tests.support.commands import Author, Command, edit, now
from tests.support.databases import TestDatabase


def store(database: TestDatabase, *updates: bytes, snapshot: bytes = b"\x00\x00", age: str = "2 hours") -> None:
    """Store a document.

    :param updates: its log entries.
    :param snapshot: what is older than the log.
    :param age: of the log entries, a PostgreSQL interval.
    """
    database.query(
        "INSERT INTO yjs_document (id, data) VALUES ('diagram-one', %s) ON CONFLICT (id) DO NOTHING", (snapshot,)
    )
    for update in updates:
        database.query(
            "INSERT INTO yjs_update_log (document_id, update, created_at)"
            " VALUES ('diagram-one', %s, now() - %s::interval)",
            (update, age),
        )


def log_updates(database: TestDatabase) -> list[bytes]:
    """Return the updates of the log entries."""
    return [bytes(update) for (update,) in database.query("SELECT update FROM yjs_update_log ORDER BY id")]


def exported(output_of: Command, *arguments: str) -> object:
    """Return the exported content of the document."""
    return json.loads(output_of("export", "one", "--format", "json", *arguments))


def text(content: str) -> object:
    """Return the exported content of a document with this text."""
    return {"text": {"text": [{"insert": content}]}}


def test_importing_what_a_document_has_already_is_no_edit(
    database: TestDatabase, output_of: Command, tmp_path: Path
) -> None:
    author = Author()
    store(database, author.write("gone"), author.erase(), author.write("here"))
    file = str(tmp_path / "file")
    output_of("export", "one", "-o", file)
    before = now()
    assert "already" in output_of("import", "one", file)
    assert len(log_updates(database)) == 3
    assert exported(output_of, "--at", before) == text("here")
    assert "has the same content already" in output_of("restore", "one", "--at", before)
    assert exported(output_of) == text("here")


def test_of_a_file_that_overlaps_a_document_only_the_new_part_is_logged_and_undone_by_restoring(
    database: TestDatabase, start_daemon: StartDaemon, output_of: Command, tmp_path: Path
) -> None:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    daemon = start_daemon(database)
    author = Author()
    edit(daemon, ada, author.write("gone"), author.erase(), author.write("here"))
    before = now()
    addition = author.write(", and more")
    file = tmp_path / "file"
    file.write_bytes(author.doc.get_update())
    with Client(daemon, "one", ada) as client:
        output = output_of("import", "one", str(file))
        client.wait_for("here, and more")
        assert log_updates(database)[-1] == addition
        assert f"{len(addition)} bytes added to diagram-one" in output
        assert exported(output_of, "--at", before) == text("here")
        assert "10 clocks deleted" in output_of("restore", "one", "--at", before)
        client.wait_for("here")
    assert exported(output_of) == text("here")


def test_removing_an_import_keeps_what_the_document_had_before_even_if_that_is_older_than_the_log(
    database: TestDatabase, output_of: Command, tmp_path: Path
) -> None:
    author = Author()
    author.write("here")
    store(database, snapshot=author.doc.get_update())
    author.write(", and more")
    file = tmp_path / "file"
    file.write_bytes(author.doc.get_update())
    before = now()
    output_of("import", "one", str(file))
    assert exported(output_of) == text("here, and more")
    assert exported(output_of, "--at", before) == text("here")
    [[number]] = database.query("SELECT id FROM yjs_update_log")
    assert ": clocks 4-13" in output_of("rebuild", "one", "--without", str(number), "--discard")
    assert exported(output_of) == text("here")


def test_importing_creates_a_document_with_the_file_as_its_log_entry(
    database: TestDatabase, output_of: Command, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_bytes(Author().write("here"))
    output = output_of("import", "one", str(file), "--user", "nobody", status=1)
    assert "There is no user nobody." in output
    assert database.query("SELECT count(*) FROM yjs_document") == [(0,)]
    assert f"{file.stat().st_size} bytes added" in output_of("import", "one", str(file))
    assert log_updates(database) == [file.read_bytes()]
    assert exported(output_of) == text("here")


def test_nothing_is_imported_into_a_damaged_document(
    database: TestDatabase, output_of: Command, tmp_path: Path
) -> None:
    store(database, snapshot=b"\xff")
    file = tmp_path / "file"
    file.write_bytes(Author().write("here"))
    assert "diagram-one is damaged" in output_of("import", "one", str(file), status=1)
    assert log_updates(database) == []


def test_what_a_later_entry_repeats_was_there_before(database: TestDatabase, output_of: Command) -> None:
    author = Author()
    store(database, author.write("gone"), author.erase(), author.write("here"))
    author.write(", and more")
    store(database, author.doc.get_update(), age="1 minute")
    assert exported(output_of) == text("here, and more")
    assert exported(output_of, "--at", "1h") == text("here")
    output_of("restore", "one", "--at", "1h")
    assert exported(output_of) == text("here")


def test_a_malformed_entry_that_is_in_the_snapshot_does_not_prevent_restoring(
    database: TestDatabase, output_of: Command
) -> None:
    author = Author()
    author.write("here")
    store(database, b"\xff", snapshot=author.doc.get_update())
    database.query("UPDATE yjs_update_log SET merged_at = now()")
    store(database, author.write(", and more"), age="1 minute")
    assert exported(output_of, "--at", "1h") == text("here")
