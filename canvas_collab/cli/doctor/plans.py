"""Checks of what drizzle-kit and Prisma would do to the daemon's tables: they drop those that they do not know."""

from __future__ import annotations

from psycopg2.extensions import connection as Connection

from canvas_collab.cli.doctor.database import rows
from canvas_collab.cli.doctor.finding import Finding, ok, warning
from canvas_collab.database.catalogue import SESSION_TABLES
from canvas_collab.database.schemas import Schemas
from canvas_collab.database.tables import DEFAULT_SCHEMA

#: The tables that are certainly the daemon's, and not the application's of the same name.
OWN_TABLES = ("collab_migration", "yjs_document", "yjs_update_log")

# Better Auth's table of sessions in the schema of the daemon's tables, and which of the tools has made it: each records
# its migrations in a table; without one, as after a "push", Drizzle's columns are snake_case and Prisma's times have
# milliseconds. Tables of Better Auth's own migrations, or of other tools, are neither.
_TOOLS = """
    SELECT (to_regclass(format('%%I._prisma_migrations', nspname)) IS NOT NULL
            OR coalesce(format_type(camel.atttypid, camel.atttypmod) LIKE 'timestamp(3)%%', false)),
           (EXISTS (SELECT FROM pg_class AS migrations WHERE migrations.relname = '__drizzle_migrations')
            OR snake.attname IS NOT NULL)
      FROM pg_class AS session
      JOIN pg_namespace ON pg_namespace.oid = session.relnamespace
      LEFT JOIN pg_attribute AS camel ON camel.attrelid = session.oid AND camel.attname = 'expiresAt'
      LEFT JOIN pg_attribute AS snake ON snake.attrelid = session.oid AND snake.attname = 'expires_at'
     WHERE session.relname = ANY(%s) AND nspname = %s AND session.relkind IN ('r', 'p')
"""

_FOUND = """
    SELECT relname::text FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
     WHERE nspname = %s AND relname = ANY(%s) AND relkind IN ('r', 'p') ORDER BY relname
"""


def check_plans(connection: Connection, schemas: Schemas) -> list[Finding]:
    """Check that no tool that manages the application's tables would drop the daemon's."""
    check, own = "other tools", schemas.own
    tables = ", ".join(str(name) for (name,) in rows(connection, _FOUND, (own, list(OWN_TABLES))))
    tools = rows(connection, _TOOLS, (list(SESSION_TABLES), own)) if tables else []
    remedy = f"Move the tables to the schema {DEFAULT_SCHEMA}: docs/operating.md, The database, has the statements."
    findings = []
    if any(by_prisma for by_prisma, _ in tools):
        text = f"Prisma manages the schema {own}: `prisma db push` and `migrate` plan to drop {tables} there."
        findings.append(warning(check, text, remedy))
    if any(by_drizzle for _, by_drizzle in tools):
        text = f"Drizzle manages the schema {own}: `drizzle-kit push` plans to drop {tables} there."
        findings.append(warning(check, text, remedy))
    return findings or [ok(check, "No other tool manages the schema of the daemon's tables.")]
