"""Checks of the tables in the database: Better Auth's, the daemon's, and the rights of the role."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from canvas_collab.access.roles import ROLES
from canvas_collab.cli.doctor.database import rows
from canvas_collab.cli.doctor.finding import Finding, ok, problem, warning
from canvas_collab.database.catalogue import (
    ACCESS_VIEW,
    SESSION_TABLES,
    USER_TABLES,
    Catalogue,
    UnsuitableDatabase,
    find_auth_tables,
    read_catalogue,
)
from canvas_collab.database.migrations import available_migrations
from canvas_collab.database.privileges import NEEDED
from canvas_collab.database.schemas import Schemas

#: How many rows of the access view are looked at.
ROWS_CHECKED = 10_000

_MIGRATE = "Run `canvas-collab migrate` as the tables' owner, or start the daemon once with MIGRATE=on."


@frozen
class Right:
    """A right that everyday work needs.

    :ivar tables: the table, under each of the names that it may have; the first that exists is used.
    :ivar privilege: as in a GRANT statement.
    """

    tables: tuple[str, ...]
    privilege: str


RIGHTS = (
    Right(USER_TABLES, "SELECT (id)"),
    Right(SESSION_TABLES, "SELECT"),
    Right((ACCESS_VIEW,), "SELECT"),
    *(Right((table,), privilege) for table, privileges in NEEDED.items() for privilege in privileges),
)

_HAS_RIGHT = """
    SELECT format('%%I.%%I', nspname, relname), relrowsecurity AND row_security_active(pg_class.oid), CASE
               WHEN %(privilege)s = 'SELECT (id)' THEN has_column_privilege(pg_class.oid, 'id', 'SELECT')
               WHEN relkind = 'S' THEN has_sequence_privilege(pg_class.oid, %(privilege)s)
               ELSE has_table_privilege(pg_class.oid, %(privilege)s)
           END
      FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
     WHERE relname = %(name)s AND nspname = ANY(%(schemas)s) AND relkind <> 'i'
     ORDER BY array_position(%(schemas)s, nspname::text) LIMIT 1
"""


_MAY_CREATE = """
    SELECT coalesce((SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = %s),
                    has_database_privilege(current_database(), 'CREATE'))
"""


def check_auth_tables(connection: Connection, schemas: Schemas) -> list[Finding]:
    """Check that Better Auth's tables exist, and have sessions."""
    check = "Better Auth"
    missing = find_auth_tables(connection, schemas)
    if missing:
        remedy = "Let DATABASE_URL name the database that Better Auth uses, and run the application's migrations."
        return [problem(check, text.partition(". ")[0] + ".", remedy) for text in missing]
    table = next(name for name in SESSION_TABLES if _exists(connection, name))
    [(may_read,)] = rows(connection, "SELECT has_table_privilege(to_regclass(quote_ident(%s)), 'SELECT')", (table,))
    # The name is one of two constants.
    if may_read and not rows(connection, f'SELECT FROM "{table}" LIMIT 1'):
        return [
            warning(
                check,
                "There is not a single session: Better Auth may keep them elsewhere.",
                "Sign in once; if there is still none, set session.storeSessionInDatabase in the application.",
            )
        ]
    return [ok(check, "Better Auth's tables are there.")]


def _exists(connection: Connection, table: str) -> bool:
    return rows(connection, "SELECT to_regclass(quote_ident(%s)) IS NOT NULL", (table,)) == [(True,)]


def check_migrations(connection: Connection, schemas: Schemas, migrates: bool) -> Finding:
    """Check which migrations are applied.

    :param migrates: whether the daemon applies missing ones when it starts.
    """
    check = "migrations"
    known = {migration.number: f"{migration.number:04}_{migration.name}" for migration in available_migrations()}
    applied: set[object] = set()
    if _exists(connection, "collab_migration"):
        may_read = "SELECT has_table_privilege(to_regclass('collab_migration'), 'SELECT')"
        if rows(connection, may_read) == [(False,)]:
            return problem(check, "The role may not read collab_migration.", "Grant it: docs/operating.md, Migrations.")
        applied = {number for (number,) in rows(connection, "SELECT number FROM collab_migration")}
    if unknown := [str(number) for number in applied if number not in known]:
        return problem(
            check,
            f"The database is newer than this version of canvas-collab: it has the migration {', '.join(unknown)}.",
            "Install the version that was here before.",
        )
    missing = ", ".join(name for number, name in known.items() if number not in applied)
    if not missing:
        return ok(check, "Every migration is applied.")
    [(may_create,)] = rows(connection, _MAY_CREATE, (schemas.own,))
    if not migrates:
        return problem(check, f"The database lacks the migrations {missing}, and MIGRATE is off.", _MIGRATE)
    if not may_create:
        return problem(
            check, f"The database lacks the migrations {missing}, and the role may not create tables.", _MIGRATE
        )
    return warning(check, f"The database lacks the migrations {missing}.", "Start the daemon, which applies them.")


def check_rights(connection: Connection, schemas: Schemas) -> list[Finding]:
    """Check the rights of the role on every table that exists."""
    check = "rights"
    [(role,)] = rows(connection, "SELECT quote_ident(current_user)")
    findings: list[Finding] = []
    own = schemas.own
    closed = "SELECT FROM pg_namespace WHERE nspname = %s AND NOT has_schema_privilege(oid, 'USAGE')"
    if rows(connection, closed, (own,)):
        remedy = f'Run as the owner: GRANT USAGE ON SCHEMA "{own}" TO {role};'
        return [problem(check, f"The role {role} lacks USAGE on the schema {own}.", remedy)]
    hidden: set[str] = set()
    for right in RIGHTS:
        for table in right.tables:
            with connection.cursor() as cursor:
                places = list(schemas.with_view if table == ACCESS_VIEW else schemas.for_migrations)
                cursor.execute(_HAS_RIGHT, {"name": table, "privilege": right.privilege, "schemas": places})
                found = cursor.fetchall()
            for name, has_row_security, allowed in found:
                kind = "SEQUENCE " if right.privilege == "USAGE" else ""
                if has_row_security:
                    hidden.add(table)
                if not allowed:
                    findings.append(
                        problem(
                            check,
                            f"The role {role} lacks {right.privilege} on {table}.",
                            f"Run as the owner: GRANT {right.privilege} ON {kind}{name} TO {role};",
                        )
                    )
            if found:
                break
    findings += [
        warning(
            check,
            f"Row-level security of {table} applies to the role {role}: rows may be hidden from it.",
            f"Add a policy that shows them, or run as a superuser: ALTER ROLE {role} BYPASSRLS;",
        )
        for table in sorted(hidden)
    ]
    return findings or [ok(check, f"The role {role} has the rights that it needs.")]


def check_access_view(connection: Connection, schemas: Schemas) -> tuple[Catalogue | None, list[Finding]]:
    """Check that the daemon's queries of sessions and roles work, and that it knows the roles."""
    check = "access view"
    try:
        catalogue = read_catalogue(connection, schemas)
    except UnsuitableDatabase as error:
        remedy = "Define the view collab_access(diagram_id, user_id, role): docs/operating.md describes it."
        return None, [problem(check, text, remedy) for text in error.problems]
    return catalogue, list(_role_findings(connection, schemas, check))


def _role_findings(connection: Connection, schemas: Schemas, check: str) -> Iterator[Finding]:
    names = [sql.Identifier(schema, ACCESS_VIEW) for schema in schemas.with_view]
    view = next(
        name for name in names if rows(connection, "SELECT to_regclass(%s)", (name.as_string(connection),))[0][0]
    )
    statement = sql.SQL("SELECT DISTINCT role FROM (SELECT role::text FROM {} LIMIT %s) AS sample").format(view)
    roles = {str(role) for (role,) in rows(connection, statement.as_string(connection), (ROWS_CHECKED,))}
    if not roles:
        yield warning(
            check,
            "The view collab_access has no rows: nobody may open anything.",
            "Create a diagram in the application, and check that the view shows its owner.",
        )
    elif unknown := sorted(roles - set(ROLES)):
        yield problem(
            check,
            f"The view collab_access has roles that are unknown, and count as none: {', '.join(unknown)}.",
            f"Let the view translate them with CASE to {', '.join(ROLES)}.",
        )
    else:
        yield ok(check, f"The view collab_access works; its roles are {', '.join(sorted(roles))}.")
