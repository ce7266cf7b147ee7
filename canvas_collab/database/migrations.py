"""Migrates the daemon's own tables: applies the numbered files of ``sql/`` in order, each once.

Runs, blocking, before the reactor starts, so that a daemon whose database cannot be used exits with the reasons.
"""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import psycopg2
import psycopg2.errors
from attrs import frozen
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from canvas_collab.database.blocking import connect
from canvas_collab.database.catalogue import Catalogue, find_auth_tables, read_catalogue
from canvas_collab.database.errors import UnsuitableDatabase
from canvas_collab.database.privileges import find_missing_rights
from canvas_collab.database.schemas import Schemas, find_schemas
from canvas_collab.database.tables import DEFAULT_SCHEMA

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


def prepare_database(url: str, migrate: bool, schema: str = DEFAULT_SCHEMA) -> Catalogue:
    """Migrate the database if allowed, check that it can be used, and return the queries that fit it.

    :param migrate: whether outstanding migrations are applied; otherwise they are a reason to raise.
    :param schema: where the daemon's tables are created, unless they exist in another schema.
    :raises UnsuitableDatabase: with every problem and its remedy.
    """
    connection = connect(url, "canvas-collab")
    try:
        connection.autocommit = True
        schemas = find_schemas(connection, url, schema)
        problems = find_auth_tables(connection, schemas) + find_missing_rights(connection, schemas.own)
        if problems:
            raise UnsuitableDatabase(problems)
        applied = _migrate(connection, migrate, schemas)
        return attrs.evolve(read_catalogue(connection, schemas), migrations=tuple(applied))
    except psycopg2.Error as error:
        raise UnsuitableDatabase([f"The database of DATABASE_URL cannot be used: {_reason_of(error)}."]) from error
    finally:
        connection.close()


def _migrate(connection: Connection, allowed: bool, schemas: Schemas) -> list[str]:
    """Apply the migrations that the database lacks; return their names."""
    migrations = available_migrations()
    applied = _applied_numbers(connection, schemas)
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
    return [
        f"{migration.number:04}_{migration.name}" for migration in outstanding if _apply(connection, migration, schemas)
    ]


def _applied_numbers(connection: Connection, schemas: Schemas) -> set[int]:
    table = sql.Identifier(schemas.own, "collab_migration")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
            "WHERE relname = 'collab_migration' AND nspname = %s",
            (schemas.own,),
        )
        if not cursor.fetchall():
            return set()
        cursor.execute(sql.SQL("SELECT number FROM {}").format(table))
        return {number for (number,) in cursor.fetchall()}


def _apply(connection: Connection, migration: Migration, schemas: Schemas) -> bool:
    """Apply a migration; return False if another daemon has applied it in the meantime."""
    connection.autocommit = False
    try:
        # psycopg2's connection as a context manager is a transaction, and does not close.
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            _create_schema(cursor, schemas.own)
            path = sql.SQL(", ").join(map(sql.Identifier, schemas.for_migrations))
            cursor.execute(sql.SQL("SET LOCAL search_path = {}").format(path))
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
        hint = f" {error.diag.message_hint}" if error.diag.message_hint else ""
        raise UnsuitableDatabase(
            [f"The migration {migration.number:04}_{migration.name} failed: {_reason_of(error)}.{hint}"]
        ) from error
    finally:
        connection.autocommit = True


def _create_schema(cursor: Cursor, name: str) -> None:
    """Create a schema unless it exists: ``CREATE SCHEMA IF NOT EXISTS`` requires the right to create one in any case.

    :raises UnsuitableDatabase: if the role may not.
    """
    cursor.execute("SELECT FROM pg_namespace WHERE nspname = %s", (name,))
    if cursor.fetchall():
        return
    try:
        cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
    except psycopg2.errors.InsufficientPrivilege as error:
        role = cursor.connection.info.user
        remedy = sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}").format(sql.Identifier(name), sql.Identifier(role))
        raise UnsuitableDatabase(
            [
                f"The role {role} may not create the schema {name}. "
                f"Let an owner of the database run: {remedy.as_string(cursor)}"
            ]
        ) from error


def _reason_of(error: psycopg2.Error) -> str:
    return (error.diag.message_primary or str(error)).strip()


def _sql_directory() -> Path:
    """Return the directory of the files: in the package if that is installed, beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "sql"
    return installed if installed.is_dir() else package.parent / "sql"
