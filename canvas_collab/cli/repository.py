"""The stored documents, for commands: the same tables and locks as the daemon's, without a reactor."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

import psycopg2
from attrs import field, frozen
from psycopg2.extensions import connection as Connection

from canvas_collab.cli.formatting import whose
from canvas_collab.database.bytea import Bytea, ByteaArray
from canvas_collab.database.catalogue import Catalogue, UnsuitableDatabase, read_catalogue
from canvas_collab.document.document import Document
from canvas_collab.document.folding import DocumentDamaged, Snapshot, read_document
from canvas_collab.document.restoring import document_before
from canvas_collab.persistence.loading import make_snapshot
from canvas_collab.persistence.statements import APPEND, LOAD, LOCK_SNAPSHOT, LOG_CHANNEL, RESET_CHANNEL, WRITE_SNAPSHOT
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.update import Update, decode_update

_DOCUMENTS = """
    SELECT document.id, octet_length(document.data), document.updated_at,
           count(entry.id) FILTER (WHERE entry.merged_at IS NULL),
           coalesce(sum(octet_length(entry.update)) FILTER (WHERE entry.merged_at IS NULL), 0),
           max(entry.created_at), count(DISTINCT entry.user_id)
      FROM yjs_document AS document LEFT JOIN yjs_update_log AS entry ON entry.document_id = document.id
     GROUP BY document.id
     ORDER BY greatest(document.updated_at, max(entry.created_at)) DESC
"""

_HISTORY = """
    SELECT date_trunc(%(by)s, entry.created_at), entry.user_id::text, max(author.name), count(*),
           sum(octet_length(entry.update))
      FROM yjs_update_log AS entry LEFT JOIN {user_table} AS author ON author.id = entry.user_id
     WHERE entry.document_id = %(room)s
     GROUP BY 1, 2 ORDER BY 1, 4 DESC
"""

_LOG = """
    SELECT entry.id, entry.created_at, entry.user_id::text, author.name, octet_length(entry.update),
           CASE WHEN %(with_updates)s THEN entry.update END
      FROM yjs_update_log AS entry LEFT JOIN {user_table} AS author ON author.id = entry.user_id
     WHERE entry.document_id = %(room)s
       AND (%(user)s IS NULL OR entry.user_id::text = %(user)s)
       AND (%(since)s IS NULL OR entry.created_at >= %(since)s)
     ORDER BY entry.id
"""

_MAKE = "INSERT INTO yjs_document (id, data) VALUES (%s, '\\x0000') ON CONFLICT (id) DO NOTHING"

# Not announced as an addition: who has the document open is to let go of it, not to follow.
_REPLACE = """
    WITH removed AS (
        DELETE FROM yjs_update_log WHERE document_id = %(room)s AND id = ANY(%(entries)s)
    ), added AS (
        INSERT INTO yjs_update_log (document_id, update, merged_at) VALUES (%(room)s, %(update)s, now())
    ), marked AS (
        UPDATE yjs_document SET reset_at = clock_timestamp() WHERE id = %(room)s
    )
    SELECT pg_notify('{channel}', %(room)s)
"""


@frozen
class LogRow:
    """An entry of the log; `user_id` and `name` are whose edit it is, as far as that is known."""

    id: int
    time: datetime
    user_id: str | None
    name: str | None
    size: int
    update: bytes = field(default=b"", repr=False)

    @property
    def who(self) -> str:
        """Whose edit it is, for people."""
        return whose(self.name, self.user_id)


class NotFound(Exception):
    """What was asked for is not there, or cannot be had; the text is a sentence for the operator."""


class DocumentRepository:
    """The database's documents and their log."""

    def __init__(self, connection: Connection, catalogue: Catalogue) -> None:
        self._connection = connection
        self._catalogue = catalogue

    def query(self, sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        """Run a statement, and return its rows if it has any."""
        with self._connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return list(cursor.fetchall()) if cursor.description else []

    def documents(self) -> list[dict[str, Any]]:
        """Every document, the one that changed last first."""
        names = ("room", "size", "updated_at", "unmerged", "unmerged_size", "last_edit", "people")
        return [dict(zip(names, row, strict=True)) for row in self.query(_DOCUMENTS)]

    def rooms(self) -> list[str]:
        """The names of all documents."""
        return [room for (room,) in self.query("SELECT id FROM yjs_document ORDER BY id")]

    def history(self, room: str, by: str) -> list[dict[str, Any]]:
        """Who edited how much of a document in which hour, day or the like, as far as the log goes back."""
        names = ("time", "user_id", "name", "updates", "size")
        rows = self.query(_HISTORY.format(user_table=self._catalogue.user_table), {"by": by, "room": room})
        return [dict(zip(names, row, strict=True)) for row in rows]

    def stored(self, room: str) -> tuple[Snapshot, list[bytes]]:
        """A document's snapshot, and the log entries that are not in that.

        :raises NoSuchThing: if there is no such document.
        """
        rows = self.query(LOAD, {"id": room})
        if not rows:
            raise NotFound(f"There is no document {room}.")
        [(_, data, *rest)] = [row for row in rows if row[0] == 0]
        return make_snapshot(bytes(data), *rest), [bytes(row[1]) for row in rows if row[0] != 0]

    def load(self, room: str) -> Document:
        """A document as it is.

        :raises NoSuchThing: if there is none, or it is damaged.
        """
        return read(room, *self.stored(room))

    def load_at(self, room: str, moment: datetime, retention: float) -> Document:
        """A document as it was.

        :raises NoSuchThing: also if the log does not go back so far.
        """
        earliest = datetime.now().astimezone() - timedelta(seconds=retention)
        if moment < earliest:
            raise NotFound(f"The log goes back to {earliest:%Y-%m-%d %H:%M:%S %z}, as HISTORY_RETENTION has it.")
        document = self.load(room)
        sql = "SELECT created_at > %s, id, update FROM yjs_update_log WHERE document_id = %s ORDER BY id"
        rows = self.query(sql, (moment, room))
        later = [_update(row_id, data) for is_later, row_id, data in rows if is_later]
        # Two daemons may have logged the same, and something else may have written to the log.
        return document_before(document, later, _readable(bytes(data) for is_later, _, data in rows if not is_later))

    def log(
        self, room: str, user: str | None = None, since: datetime | None = None, with_updates: bool = False
    ) -> list[LogRow]:
        """The entries of a document's log, of one user or since some time if that is asked for."""
        values = {"room": room, "user": user, "since": since, "with_updates": with_updates}
        rows = self.query(_LOG.format(user_table=self._catalogue.user_table), values)
        return [
            LogRow(row_id, time, user_id, name, size, bytes(data or b""))
            for row_id, time, user_id, name, size, data in rows
        ]

    def add(self, room: str, update: Update, user_id: str | None) -> int:
        """Put what is new of an update into the log, and return how many bytes that is.

        Whoever looks back takes an entry for what was new when it came. The document is made if there is none.

        :raises NoSuchThing: if there is no such user, or the document is damaged.
        """
        self._find_user(user_id)
        with self.locked(room, make=True) as snapshot:
            sql = "SELECT update FROM yjs_update_log WHERE document_id = %s AND merged_at IS NULL ORDER BY id"
            news = read(room, snapshot, [bytes(data) for (data,) in self.query(sql, (room,))]).apply(update)
            if not news:
                return 0
            data = news.encode()
            self.append(room, data, user_id)
        return len(data)

    def append(self, room: str, update: bytes, user_id: str | None) -> None:
        """Put an edit into the log, all of which is new; daemons that have the document open follow.

        :raises NoSuchThing: if there is no such user.
        """
        self._find_user(user_id)
        sql = APPEND.format(
            user_table=self._catalogue.user_table, user_id_type=self._catalogue.user_id_type, channel=LOG_CHANNEL
        )
        self.query(sql, ([room], [user_id], ByteaArray([update]), f"command-{secrets.token_hex(4)}"))

    def _find_user(self, user_id: str | None) -> None:
        sql = f"SELECT 1 FROM {self._catalogue.user_table} WHERE id::text = %s"
        if user_id is not None and not self.query(sql, (user_id,)):
            raise NotFound(f"There is no user {user_id}.")

    @contextmanager
    def locked(self, room: str, *, make: bool = False) -> Iterator[Snapshot]:
        """A document's snapshot, in a transaction in which nobody else writes that.

        :param make: whether the document is made if there is none.
        :raises NoSuchThing: if there is no such document.
        """
        self._connection.autocommit = False
        try:
            with self._connection:
                if make:
                    self.query(_MAKE, (room,))
                rows = self.query(LOCK_SNAPSHOT, (room,))
                if not rows:
                    raise NotFound(f"There is no document {room}.")
                [(data, *rest)] = rows
                yield make_snapshot(bytes(data), *rest)
        finally:
            self._connection.autocommit = True

    def write(self, room: str, snapshot: Snapshot, entries: Sequence[int]) -> None:
        """Write a snapshot, within :meth:`locked`, that holds these entries of the log."""
        values = (Bytea(snapshot.data), Bytea(snapshot.layout or b""), Bytea(snapshot.checksum or b""), room)
        self.query(WRITE_SNAPSHOT, values)
        self.query(
            "UPDATE yjs_update_log SET merged_at = coalesce(merged_at, now()) WHERE id = ANY(%s)", (list(entries),)
        )

    def replace(
        self, room: str, snapshot: Snapshot, removed: Sequence[int], kept: Sequence[int], change: bytes
    ) -> None:
        """Write a snapshot, within :meth:`locked`, that is without some entries of the log; those are deleted.

        Daemons that have the document open let go of it.

        :param kept: the entries that are in the snapshot.
        :param change: what is to be in the log for those that are deleted.
        """
        self.write(room, snapshot, kept)
        values = {"room": room, "entries": list(removed), "update": Bytea(change)}
        self.query(_REPLACE.format(channel=RESET_CHANNEL), values)


def read(room: str, snapshot: Snapshot, updates: Iterable[bytes]) -> Document:
    """A document from its snapshot and the log entries that are not in that.

    :raises NoSuchThing: if it is damaged.
    """
    try:
        return read_document(snapshot, updates)
    except DocumentDamaged as error:
        raise NotFound(f"{room} is damaged: {error}. See canvas-collab repair --help.") from error


def _update(row_id: int, data: Any) -> Update:
    try:
        return decode_update(bytes(data))
    except Malformed as error:
        raise NotFound(f"The entry {row_id} of the log cannot be read: {error}.") from error


def _readable(entries: Iterable[bytes]) -> Iterator[Update]:
    """Those of some entries that can be read; what is in the others is known from the snapshot, if at all."""
    for data in entries:
        with suppress(Malformed):
            yield decode_update(data)


@contextmanager
def open_repository(url: str) -> Iterator[DocumentRepository]:
    """Connect, and find out how the application's tables are spelled.

    :raises Unsuitable: if the database is not such as the daemon needs.
    """
    try:
        connection = psycopg2.connect(url, connect_timeout=10, application_name="canvas-collab command")
    except psycopg2.OperationalError as error:
        reason = " ".join(str(error).split())
        raise UnsuitableDatabase([f"The database of DATABASE_URL cannot be reached: {reason}"]) from error
    try:
        connection.autocommit = True
        yield DocumentRepository(connection, read_catalogue(connection))
    finally:
        connection.close()
