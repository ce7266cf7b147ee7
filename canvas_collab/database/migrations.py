"""Bringing the tables that are ours up to date: the numbered files of ``sql/``, in order, each once.

Runs before the reactor does, so that a daemon that cannot work says so and ends.
"""

from __future__ import annotations

import re
from pathlib import Path

import psycopg2
from attrs import frozen
from psycopg2.extensions import connection as Connection

from canvas_collab.database.catalogue import Catalogue, UnsuitableDatabase, find_auth_tables, read_catalogue

#: The advisory lock under which each migration runs: two daemons that start together take turns. It ends with the
#: transaction, since a connection pooler may keep a session, and its locks, beyond the end of a connection.
LOCK = 0x43_61_6E_76_61_73

_CREATE_RECORD = """
    CREATE TABLE IF NOT EXISTS collab_migration (
        number INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
    )
"""


@frozen
class Migration:
    """One file of ``sql/``: ``NNNN_name.sql``."""

    number: int
    name: str
    statements: str


def available_migrations() -> list[Migration]:
    """The migrations that this version of the code has, in order."""
    migrations = []
    for path in sorted(_directory().glob("*.sql")):
        match = re.fullmatch(r"(\d+)_(\w+)\.sql", path.name)
        if match:
            migrations.append(Migration(int(match[1]), match[2], path.read_text(encoding="utf-8")))
    return migrations


def prepare_database(url: str, migrate: bool) -> Catalogue:
    """Make a database ready, or say why it is not.

    :param url: a libpq connection URL.
    :param migrate: whether migrations may be applied; else they must have been.
    :raises Unsuitable: with every problem and its remedy.
    """
    try:
        connection = psycopg2.connect(url, connect_timeout=10, application_name="canvas-collab")
    except psycopg2.OperationalError as error:
        reason = " ".join(str(error).split())
        raise UnsuitableDatabase([f"The database of DATABASE_URL cannot be reached: {reason}"]) from error
    try:
        connection.autocommit = True
        missing = find_auth_tables(connection)
        if missing:
            raise UnsuitableDatabase(missing)
        _migrate(connection, migrate)
        return read_catalogue(connection)
    finally:
        connection.close()


def _migrate(connection: Connection, allowed: bool) -> None:
    migrations = available_migrations()
    applied = _applied(connection)
    unknown = sorted(applied - {migration.number for migration in migrations})
    if unknown:
        raise UnsuitableDatabase(
            [
                f"The database is newer than this canvas-collab: it has migration {unknown[-1]}, and this version "
                f"knows them up to {migrations[-1].number}. Install the newer version again."
            ]
        )
    outstanding = [migration for migration in migrations if migration.number not in applied]
    if outstanding and not allowed:
        names = ", ".join(f"{migration.number:04}_{migration.name}" for migration in outstanding)
        raise UnsuitableDatabase([f"The database lacks the migrations {names}. Start once with MIGRATE=on."])
    for migration in outstanding:
        _apply(connection, migration)


def _applied(connection: Connection) -> set[int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('collab_migration') IS NOT NULL")
        if not cursor.fetchall()[0][0]:
            return set()
        cursor.execute("SELECT number FROM collab_migration")
        return {number for (number,) in cursor.fetchall()}


def _apply(connection: Connection, migration: Migration) -> None:
    connection.autocommit = False
    try:
        # The connection as a context manager is one transaction.
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            cursor.execute(_CREATE_RECORD)
            cursor.execute("SELECT FROM collab_migration WHERE number = %s", (migration.number,))
            if cursor.fetchall():
                # Somebody else has just done it.
                return
            cursor.execute(migration.statements)
            cursor.execute(
                "INSERT INTO collab_migration (number, name) VALUES (%s, %s)",
                (migration.number, migration.name),
            )
    except psycopg2.Error as error:
        reason = (error.diag.message_primary or str(error)).strip()
        hint = f" {error.diag.message_hint}" if error.diag.message_hint else ""
        raise UnsuitableDatabase(
            [f"The migration {migration.number:04}_{migration.name} failed: {reason}.{hint}"]
        ) from error
    finally:
        connection.autocommit = True


def _directory() -> Path:
    """Where the files lie: inside the package when it is installed, beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "sql"
    return installed if installed.is_dir() else package.parent / "sql"
