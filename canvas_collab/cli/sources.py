"""Documents of other servers, each as its name and a Yjs update: from files, from SQLite, or from a query."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote

from canvas_collab.cli.errors import CommandError
from canvas_collab.database.blocking import connect

#: The ending of the files of a directory that are documents.
SUFFIX = ".update"

#: How many rows of a query are held at a time: documents may be large, and adding one takes longer than fetching it.
ROWS_AT_ONCE = 1


def from_directory(directory: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the documents of a directory: files whose names are the documents' names, URL-encoded, and ``.update``.

    :raises CommandError: if there is none.
    """
    paths = sorted(directory.glob(f"*{SUFFIX}"))
    if not paths:
        raise CommandError(f"{directory} has no files *{SUFFIX}.")
    for path in paths:
        yield unquote(path.name.removesuffix(SUFFIX)), path.read_bytes()


def from_sqlite(file: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the documents of the database of ``@hocuspocus/extension-sqlite``: its table ``documents (name, data)``.

    :raises CommandError: if the file is not such a database.
    """
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            for name, data in connection.execute("SELECT name, data FROM documents ORDER BY name"):
                if name is None or not isinstance(data, bytes):
                    raise CommandError(f"{file} has a row in which the name is null or the data is no blob.")
                yield str(name), data
    except sqlite3.Error as error:
        raise CommandError(f"{file} is not a database of Hocuspocus's SQLite extension: {error}.") from error


def from_query(url: str, sql: str) -> Iterator[tuple[str, bytes]]:
    """Yield the documents that a query of a PostgreSQL database returns: rows of a name and a Yjs update.

    :raises UnsuitableDatabase: if the database cannot be reached.
    :raises CommandError: if its rows are not of that form.
    """
    connection = connect(url, "canvas-collab command", "--source")
    try:
        connection.set_session(readonly=True)
        with connection.cursor("documents") as cursor:
            cursor.itersize = ROWS_AT_ONCE
            cursor.execute(sql)
            for row in cursor:
                if len(row) != 2 or row[0] is None or not isinstance(row[1], memoryview):
                    raise CommandError("The query must return two columns: a name, and an update of type bytea.")
                yield str(row[0]), bytes(row[1])
    finally:
        connection.close()
