"""Importing all documents of another server: from y-websocket's LevelDB, Hocuspocus's SQLite, and a query."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest
from psycopg2.extensions import parse_dsn

from tests.support.clients import typed
from tests.support.commands import Command
from tests.support.daemons import ROOT
from tests.support.databases import TestDatabase, User

DOCUMENTS = {"one": "drawn in LevelDB", "diagram-two": "ä 😀", "three/a b?": "a name that needs encoding"}


def text_of(output_of: Command, room: str) -> str:
    """The shared text of a stored document."""
    content = json.loads(output_of("export", room, "--format", "json", "--text", "text"))
    return "".join(part["insert"] for part in content["text"]["text"])


def test_documents_of_y_websocket_are_exported_from_its_leveldb_and_imported(
    output_of: Command, ada: User, node_executable: str, node_path: Path, tmp_path: Path
) -> None:
    def node(*arguments: str) -> str:
        done = subprocess.run(
            [node_executable, *arguments], cwd=node_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    level, exported = tmp_path / "level", tmp_path / "exported"
    node("write_leveldb.mjs", json.dumps({"directory": str(level), "documents": DOCUMENTS}))
    assert node(str(ROOT / "deploy" / "export-leveldb.mjs"), str(level), str(exported)).startswith("3 documents")
    assert "3 documents imported, 0 unchanged, 0 failed" in output_of("import-all", "--directory", str(exported))
    for name, text in DOCUMENTS.items():
        assert text_of(output_of, name) == text
    # Importing again adds nothing.
    assert "0 documents imported, 3 unchanged" in output_of("import-all", "--directory", str(exported))


def test_documents_of_hocuspocus_are_imported_from_its_sqlite_database(
    output_of: Command, database: TestDatabase, ada: User, tmp_path: Path
) -> None:
    file = tmp_path / "db.sqlite"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE documents (name varchar(255) NOT NULL, data blob NOT NULL, UNIQUE(name))")
        for name in ("canvas.one", "canvas.two"):
            connection.execute("INSERT INTO documents VALUES (?, ?)", (name, typed(name)))
    connection.close()
    said = output_of("import-all", "--sqlite", str(file), "--strip", "canvas.", "--user", ada.id, "--dry-run")
    assert "2 documents would be imported" in said
    assert database.query("SELECT count(*) FROM yjs_update_log") == [(0,)]
    output_of("import-all", "--sqlite", str(file), "--strip", "canvas.", "--user", ada.id)
    assert text_of(output_of, "diagram-one") == "canvas.one"
    assert database.query("SELECT DISTINCT user_id FROM yjs_update_log") == [(ada.id,)]


def test_documents_are_imported_from_a_table_of_the_application(
    output_of: Command, database: TestDatabase, ada: User
) -> None:
    database.query("CREATE TABLE canvas (id text, state bytea)")
    database.query("INSERT INTO canvas VALUES ('one', %s), ('empty', %s)", (typed("from a table"), b"\0\0"))
    said = output_of("import-all", "--query", "SELECT id, state FROM canvas")
    assert "1 document imported, 1 unchanged, 0 failed" in said
    assert text_of(output_of, "one") == "from a table"


def test_a_document_that_is_no_update_is_reported_and_the_others_are_imported(
    output_of: Command, ada: User, tmp_path: Path
) -> None:
    (tmp_path / "one.update").write_bytes(b"\xff")
    (tmp_path / f"{quote('two')}.update").write_bytes(typed("good"))
    said = output_of("import-all", "--directory", str(tmp_path), status=1)
    assert "diagram-one: not a Yjs update" in said
    assert "1 document imported, 0 unchanged, 1 failed" in said
    assert text_of(output_of, "two") == "good"


def test_a_name_that_no_client_can_open_is_reported_and_the_others_are_imported(
    output_of: Command, database: TestDatabase, ada: User, tmp_path: Path
) -> None:
    for name in ("a%00b", "%ff", "x" * 248, "one"):
        (tmp_path / f"{name}.update").write_bytes(typed("drawn"))
    said = output_of("import-all", "--directory", str(tmp_path), status=1)
    assert said.count("the name of a room has only printable characters") == 2
    assert said.count("the name of a room has at most 255 characters") == 1
    assert "1 document imported, 0 unchanged, 3 failed" in said
    assert database.query("SELECT id FROM yjs_document") == [("diagram-one",)]


def test_the_url_of_a_source_is_written_as_applications_write_it(
    output_of: Command, database: TestDatabase, ada: User
) -> None:
    database.query("CREATE TABLE canvas (id text, state bytea)")
    database.query("INSERT INTO canvas VALUES ('one', %s)", (typed("from a table"),))
    parts = parse_dsn(database.url)
    # The embedded database takes any password.
    place = f"{parts['dbname']}?host={quote(parts['host'], safe='')}&schema=public&pgbouncer=true"
    source = f"postgresql://{parts['user']}:50%off/@/{place}"
    said = output_of("import-all", "--query", "SELECT id, state FROM canvas", "--source", source)
    assert "1 document imported" in said


@pytest.mark.parametrize(
    ("url", "status", "sentence"),
    [
        ("postgresql://app:secret@[::1/app", 2, "must be a URL such as"),
        ("postgresql://app:secret@127.0.0.1:port/app", 2, "must be a URL such as"),
        ("postgresql://app:secret@127.0.0.1:1/app", 1, "The database of --source cannot be reached"),
    ],
)
def test_the_password_of_a_source_that_cannot_be_reached_is_not_shown(
    output_of: Command, ada: User, url: str, status: int, sentence: str
) -> None:
    said = output_of("import-all", "--query", "SELECT id, state FROM canvas", "--source", url, status=status)
    assert sentence in said
    assert "secret" not in said


def test_rows_that_are_no_documents_are_named(
    output_of: Command, database: TestDatabase, ada: User, tmp_path: Path
) -> None:
    file = tmp_path / "db.sqlite"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE documents (name, data)")
        connection.execute("INSERT INTO documents VALUES ('one', NULL)")
    connection.close()
    assert "the data is no blob" in output_of("import-all", "--sqlite", str(file), status=1)
    query = "SELECT NULL, '\\x0000'::bytea"
    assert "must return two columns" in output_of("import-all", "--query", query, status=1)
    assert database.query("SELECT count(*) FROM yjs_document") == [(0,)]


def test_a_source_that_cannot_be_read_is_named(output_of: Command, ada: User, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("no database")
    assert "has no files *.update" in output_of("import-all", "--directory", str(tmp_path), status=1)
    assert "is not a database of Hocuspocus" in output_of("import-all", "--sqlite", str(file), status=1)
    assert "must return two columns" in output_of("import-all", "--query", "SELECT 1", status=1)
    assert "PostgreSQL" in output_of("import-all", "--query", "SELECT nothing", status=1)
    assert "Choose one source" in output_of("import-all", status=2)
