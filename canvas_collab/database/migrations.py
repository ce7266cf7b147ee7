"""Migrates the daemon's own tables: applies the numbered files of ``sql/`` in order, each once.

Runs, blocking, before the reactor starts, so that a daemon whose database cannot be used exits with the reasons.
"""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import psycopg2
from attrs import frozen
from psycopg2.extensions import connection as Connection

from canvas_collab.database.catalogue import Catalogue, UnsuitableDatabase, find_auth_tables, read_catalogue

#: The key of the advisory lock under which each migration runs, so that daemons that start at the same time do not run
#: one twice.  The lock belongs to the transaction: a connection pooler may keep a session, and its locks, after the
#: client has disconnected.
LOCK = 0x43_61_6E_76_61_73

_CREATE_MIGRATION_TABLE = """
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
    """Return the migrations that this version of the code has, in order."""
    migrations = []
    for path in sorted(_sql_directory().glob("*.sql")):
        match = re.fullmatch(r"(\d+)_(\w+)\.sql", path.name)
        if match:
            migrations.append(Migration(int(match[1]), match[2], path.read_text(encoding="utf-8")))
    return migrations


def prepare_database(url: str, migrate: bool) -> Catalogue:
    """Migrate the database if allowed, check that it can be used, and return the queries that fit it.

    :param url: a libpq connection URL.
    :param migrate: whether outstanding migrations are applied; otherwise they are a reason to raise.
    :raises UnsuitableDatabase: with every problem and its remedy.
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
        applied = _migrate(connection, migrate)
        return attrs.evolve(read_catalogue(connection), migrations=tuple(applied))
    finally:
        connection.close()


def _migrate(connection: Connection, allowed: bool) -> list[str]:
    """Apply the migrations that the database lacks; return their names."""
    migrations = available_migrations()
    applied = _applied_numbers(connection)
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
    return [f"{migration.number:04}_{migration.name}" for migration in outstanding if _apply(connection, migration)]


def _applied_numbers(connection: Connection) -> set[int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('collab_migration') IS NOT NULL")
        if not cursor.fetchall()[0][0]:
            return set()
        cursor.execute("SELECT number FROM collab_migration")
        return {number for (number,) in cursor.fetchall()}


def _apply(connection: Connection, migration: Migration) -> bool:
    """Apply a migration; return False if another daemon has applied it in the meantime."""
    connection.autocommit = False
    try:
        # psycopg2's connection as a context manager is a transaction, and does not close.
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            cursor.execute(_CREATE_MIGRATION_TABLE)
            cursor.execute("SELECT FROM collab_migration WHERE number = %s", (migration.number,))
            if cursor.fetchall():
                return False
            cursor.execute(migration.statements)
            cursor.execute(
                "INSERT INTO collab_migration (number, name) VALUES (%s, %s)",
                (migration.number, migration.name),
            )
            return True
    except psycopg2.Error as error:
        reason = (error.diag.message_primary or str(error)).strip()
        hint = f" {error.diag.message_hint}" if error.diag.message_hint else ""
        raise UnsuitableDatabase(
            [f"The migration {migration.number:04}_{migration.name} failed: {reason}.{hint}"]
        ) from error
    finally:
        connection.autocommit = True


def _sql_directory() -> Path:
    """Return the directory of the files: in the package if that is installed, beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "sql"
    return installed if installed.is_dir() else package.parent / "sql"
