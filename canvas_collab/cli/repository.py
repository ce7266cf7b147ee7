"""Access to stored documents for commands: the daemon's tables and locks, over a blocking connection."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

from attrs import field, frozen
from psycopg2.extensions import connection as Connection

from canvas_collab.cli.errors import CommandError
from canvas_collab.cli.formatting import author_name
from canvas_collab.database.blocking import connect
from canvas_collab.database.bytea import Bytea, ByteaArray
from canvas_collab.database.catalogue import Catalogue, read_catalogue
from canvas_collab.database.schemas import find_schemas
from canvas_collab.document.document import Document
from canvas_collab.document.folding import DocumentDamaged, Snapshot, read_document
from canvas_collab.document.restoring import document_before
from canvas_collab.persistence.columns import make_snapshot
from canvas_collab.persistence.statements import (
    APPEND,
    LOAD,
    LOCK_SNAPSHOT,
    LOG_CHANNEL,
    RESET_CHANNEL,
    WRITE_SNAPSHOT,
)
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.update import Update, decode_update

_DOCUMENTS = """
    SELECT document.id, octet_length(document.data), document.updated_at,
           count(entry.id) FILTER (WHERE entry.merged_at IS NULL),
           coalesce(sum(octet_length(entry.update)) FILTER (WHERE entry.merged_at IS NULL), 0),
           max(entry.created_at), count(DISTINCT entry.user_id)
      FROM {documents} AS document LEFT JOIN {log} AS entry ON entry.document_id = document.id
     GROUP BY document.id
     ORDER BY greatest(document.updated_at, max(entry.created_at)) DESC
"""

_HISTORY = """
    SELECT date_trunc(%(by)s, entry.created_at), entry.user_id::text, max(author.name), count(*),
           sum(octet_length(entry.update))
      FROM {log} AS entry LEFT JOIN {user_table} AS author ON author.id = entry.user_id
     WHERE entry.document_id = %(room)s
     GROUP BY 1, 2 ORDER BY 1, 4 DESC
"""

_LOG = """
    SELECT entry.id, entry.created_at, entry.user_id::text, author.name, octet_length(entry.update),
           CASE WHEN %(with_updates)s THEN entry.update END
      FROM {log} AS entry LEFT JOIN {user_table} AS author ON author.id = entry.user_id
     WHERE entry.document_id = %(room)s
       AND (%(user)s IS NULL OR entry.user_id::text = %(user)s)
       AND (%(since)s IS NULL OR entry.created_at >= %(since)s)
     ORDER BY entry.id
"""

_CREATE = "INSERT INTO {documents} (id, data) VALUES (%s, '\\x0000') ON CONFLICT (id) DO NOTHING"

# Daemons that have the document open discard its room: they are sent a reset, not a notification of an append.
_REPLACE = f"""
    WITH removed AS (
        DELETE FROM {{log}} WHERE document_id = %(room)s AND id = ANY(%(entries)s)
    ), added AS (
        INSERT INTO {{log}} (document_id, update, merged_at) VALUES (%(room)s, %(update)s, now())
    ), marked AS (
        UPDATE {{documents}} SET reset_at = clock_timestamp() WHERE id = %(room)s
    )
    SELECT pg_notify('{RESET_CHANNEL}', %(room)s)
"""


@frozen
class LogRow:
    """A log entry.

    :ivar user_id: the user who made the edit, or None if that is not known.
    :ivar name: the name of that user, or None.
    """

    id: int
    time: datetime
    user_id: str | None
    name: str | None
    size: int
    update: bytes = field(default=b"", repr=False)

    @property
    def author(self) -> str:
        """The user who made the edit, as text."""
        return author_name(self.name, self.user_id)


class DocumentRepository:
    """The stored documents and their log."""

    def __init__(self, connection: Connection, catalogue: Catalogue) -> None:
        self._connection = connection
        self._catalogue = catalogue

    def query(self, sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        """Run a statement, and return its rows if it has any.

        :param sql: a template, as in :mod:`canvas_collab.persistence.statements`.
        """
        catalogue = self._catalogue
        filled = catalogue.tables.fill(sql, user_table=catalogue.user_table, user_id_type=catalogue.user_id_type)
        with self._connection.cursor() as cursor:
            cursor.execute(filled, parameters)
            return list(cursor.fetchall()) if cursor.description else []

    def documents(self) -> list[dict[str, Any]]:
        """Return every document, most recently changed first."""
        names = ("room", "size", "updated_at", "unmerged", "unmerged_size", "last_edit", "people")
        return [dict(zip(names, row, strict=True)) for row in self.query(_DOCUMENTS)]

    def rooms(self) -> list[str]:
        """Return the names of all documents."""
        return [room for (room,) in self.query("SELECT id FROM {documents} ORDER BY id")]

    def history(self, room: str, by: str) -> list[dict[str, Any]]:
        """Return how much each user edited in each period, as far back as the log goes.

        :param by: the period, a unit of PostgreSQL's ``date_trunc``.
        """
        names = ("time", "user_id", "name", "updates", "size")
        rows = self.query(_HISTORY, {"by": by, "room": room})
        return [dict(zip(names, row, strict=True)) for row in rows]

    def stored(self, room: str) -> tuple[Snapshot, list[bytes]]:
        """Return a document's snapshot, and the updates of the log entries that are not in it.

        :raises CommandError: if there is no such document.
        """
        rows = self.query(LOAD, {"id": room})
        if not rows:
            raise CommandError(f"There is no document {room}.")
        [(_, data, *rest)] = [row for row in rows if row[0] == 0]
        return make_snapshot(bytes(data), *rest), [bytes(row[1]) for row in rows if row[0] != 0]

    def load(self, room: str) -> Document:
        """Return a document as it is now.

        :raises CommandError: if there is no such document, or it is damaged.
        """
        return read_stored(room, *self.stored(room))

    def load_at(self, room: str, moment: datetime, retention: float) -> Document:
        """Return a document as it was at some time.

        :param retention: how long log entries are kept, in seconds.
        :raises CommandError: if there is no such document, it is damaged, or the log does not go back so far.
        """
        earliest = datetime.now().astimezone() - timedelta(seconds=retention)
        if moment < earliest:
            raise CommandError(f"The log goes back to {earliest:%Y-%m-%d %H:%M:%S %z}, as HISTORY_RETENTION has it.")
        document = self.load(room)
        sql = "SELECT created_at > %s, id, update FROM {log} WHERE document_id = %s ORDER BY id"
        rows = self.query(sql, (moment, room))
        later = [_decode_entry(row_id, data) for is_later, row_id, data in rows if is_later]
        # Two daemons may have logged the same update, and other programs may have written to the log.
        return document_before(document, later, _readable(bytes(data) for is_later, _, data in rows if not is_later))

    def log(
        self, room: str, user: str | None = None, since: datetime | None = None, with_updates: bool = False
    ) -> list[LogRow]:
        """Return the entries of a document's log, optionally only those of a user or since some time."""
        values = {"room": room, "user": user, "since": since, "with_updates": with_updates}
        rows = self.query(_LOG, values)
        return [
            LogRow(row_id, time, user_id, name, size, bytes(data or b""))
            for row_id, time, user_id, name, size, data in rows
        ]

    def add(self, room: str, update: Update, user_id: str | None) -> int:
        """Append the new part of an update to the log, and return its size in bytes.

        Only the new part, since :meth:`load_at` takes each entry for what was new at its time. The document is created
        if there is none.

        :raises CommandError: if there is no such user, or the document is damaged.
        """
        self._require_user(user_id)
        with self.locked(room, create=True) as snapshot:
            sql = "SELECT update FROM {log} WHERE document_id = %s AND merged_at IS NULL ORDER BY id"
            new_part = read_stored(room, snapshot, [bytes(data) for (data,) in self.query(sql, (room,))]).apply(update)
            if not new_part:
                return 0
            data = new_part.encode()
            self.append(room, data, user_id)
        return len(data)

    def append(self, room: str, update: bytes, user_id: str | None) -> None:
        """Append an update, all of which is new, to the log; daemons that have the document open apply it.

        :raises CommandError: if there is no such user.
        """
        self._require_user(user_id)
        [(first, last, _)] = self.query(APPEND, ([room], [user_id], ByteaArray([update])))
        payload = f"command-{secrets.token_hex(4)} {first} {last}"
        self.query("SELECT pg_notify(%s, %s)", (LOG_CHANNEL, payload))

    def _require_user(self, user_id: str | None) -> None:
        sql = "SELECT 1 FROM {user_table} WHERE id::text = %s"
        if user_id is not None and not self.query(sql, (user_id,)):
            raise CommandError(f"There is no user {user_id}.")

    @contextmanager
    def locked(self, room: str, *, create: bool = False) -> Iterator[Snapshot]:
        """Give a document's snapshot, in a transaction that keeps others from writing it.

        :param create: whether to create the document if there is none.
        :raises CommandError: if there is no such document.
        """
        self._connection.autocommit = False
        try:
            with self._connection:
                if create:
                    self.query(_CREATE, (room,))
                rows = self.query(LOCK_SNAPSHOT, (room,))
                if not rows:
                    raise CommandError(f"There is no document {room}.")
                [(data, *rest)] = rows
                yield make_snapshot(bytes(data), *rest)
        finally:
            self._connection.autocommit = True

    def write(self, room: str, snapshot: Snapshot, entries: Sequence[int]) -> None:
        """Write a snapshot that holds these log entries, within :meth:`locked`."""
        values = (Bytea(snapshot.data), Bytea(snapshot.layout or b""), Bytea(snapshot.checksum or b""), room)
        self.query(WRITE_SNAPSHOT, values)
        self.query("UPDATE {log} SET merged_at = coalesce(merged_at, now()) WHERE id = ANY(%s)", (list(entries),))

    def replace(
        self, room: str, snapshot: Snapshot, removed: Sequence[int], kept: Sequence[int], change: bytes
    ) -> None:
        """Reset a document, within :meth:`locked`: write a snapshot without some log entries, and delete those.

        Daemons that have the document open discard its room.

        :param removed: the log entries to delete.
        :param kept: the log entries that are in the snapshot.
        :param change: the update to append to the log in place of the deleted entries.
        """
        self.write(room, snapshot, kept)
        values = {"room": room, "entries": list(removed), "update": Bytea(change)}
        self.query(_REPLACE, values)


def read_stored(room: str, snapshot: Snapshot, updates: Iterable[bytes]) -> Document:
    """Return the document of a snapshot and the updates of the log entries that are not in it.

    :raises CommandError: if it is damaged.
    """
    try:
        return read_document(snapshot, updates)
    except DocumentDamaged as error:
        raise CommandError(f"{room} is damaged: {error}. See canvas-collab repair --help.") from error


def _decode_entry(row_id: int, data: Any) -> Update:
    try:
        return decode_update(bytes(data))
    except Malformed as error:
        raise CommandError(f"The entry {row_id} of the log cannot be read: {error}.") from error


def _readable(entries: Iterable[bytes]) -> Iterator[Update]:
    """Decode entries; skip malformed ones, whose content is known from the snapshot, if at all."""
    for data in entries:
        with suppress(Malformed):
            yield decode_update(data)


@contextmanager
def open_repository(url: str, schema: str) -> Iterator[DocumentRepository]:
    """Connect, and read the names of the application's tables and columns.

    :param schema: the daemon's tables are there, unless they exist in another schema.
    :raises UnsuitableDatabase: if the database cannot be reached, or lacks what the daemon needs.
    """
    connection = connect(url, "canvas-collab command")
    try:
        connection.autocommit = True
        catalogue = read_catalogue(connection, find_schemas(connection, url, schema))
        yield DocumentRepository(connection, catalogue)
    finally:
        connection.close()
