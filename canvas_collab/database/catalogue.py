"""Adapts the daemon's queries to the application's tables: those of Better Auth, and the view with the roles.

Better Auth's columns are camelCase under its own migrations and snake_case under Drizzle's; times have a time zone or
are UTC without one; ids are text, uuid or integer.  All of this is read from PostgreSQL's catalogue once, at start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import psycopg2
from attrs import field, frozen
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from canvas_collab.database.errors import UnsuitableDatabase as UnsuitableDatabase
from canvas_collab.database.schemas import Schemas
from canvas_collab.database.tables import Tables

#: Better Auth's names of its tables, without and with its option ``usePlural``.
SESSION_TABLES = ("session", "sessions")
USER_TABLES = ("user", "users")
ACCESS_VIEW = "collab_access"


@frozen
class Column:
    """A column's name, and its type as SQL, without a length."""

    name: str
    type: str


@frozen
class Relation:
    """A table or view: its schema, its name, and the types of its columns."""

    schema: str
    name: str
    columns: dict[str, str]

    @property
    def sql(self) -> sql.Identifier:
        """Its name with its schema, as SQL."""
        return sql.Identifier(self.schema, self.name)


@frozen
class Catalogue:
    """The queries that fit this database, and the parts that other queries need, as SQL.

    `session_query` takes a session's token and returns the user's id and the seconds until the session expires.
    `role_query` takes the parameters ``diagram`` and ``user``, both ids, and returns the user's roles.
    `batch_query` is both for many connections: it takes the lists ``tokens`` and ``diagrams``, and returns for each
    pair whose session exists its number from 1 on, the user's id, the seconds until the session expires, and the
    user's roles as a list.
    `user_table` is the table of users, and `user_id_type` the type of its ids.  `tables` are the daemon's own.
    `migrations` has the names of the migrations that were applied at this start.
    """

    session_query: str
    role_query: str
    batch_query: str
    user_table: str
    user_id_type: str
    tables: Tables
    migrations: tuple[str, ...] = field(default=(), eq=False)


def find_auth_tables(connection: Connection, schemas: Schemas) -> list[str]:
    """Return a sentence for each of Better Auth's tables that does not exist."""
    problems = []
    for candidates in (USER_TABLES, SESSION_TABLES):
        if _find(connection, candidates, schemas.application) is None:
            problems.append(
                f'There is no table "{candidates[0]}". It belongs to Better Auth: run the application\'s migrations '
                "first (and, if sessions are kept in a secondary storage, set session.storeSessionInDatabase)."
            )
    return problems


def read_catalogue(connection: Connection, schemas: Schemas) -> Catalogue:
    """Read the names and types of the tables and columns that the daemon needs.

    :raises UnsuitableDatabase: naming everything that is missing, and the remedies.
    """
    problems = find_auth_tables(connection, schemas)
    access = _find(connection, (ACCESS_VIEW,), schemas.with_view)
    if access is None:
        problems.append(
            f"There is no view {ACCESS_VIEW}(diagram_id, user_id, role). Define it over the application's own tables, "
            "or start once with MIGRATE=on."
        )
    session = _find(connection, SESSION_TABLES, schemas.application)
    user = _find(connection, USER_TABLES, schemas.application)
    if access is None or session is None or user is None:
        raise UnsuitableDatabase(problems)

    token = _column(session, ("token",), problems)
    expires = _column(session, ("expiresAt", "expires_at"), problems)
    owner = _column(session, ("userId", "user_id"), problems)
    user_id = _column(user, ("id",), problems)
    diagram = _column(access, ("diagram_id",), problems)
    member = _column(access, ("user_id",), problems)
    role = _column(access, ("role",), problems)
    if problems:
        raise UnsuitableDatabase(problems)

    ends: sql.Composable = sql.Identifier(expires.name)
    if "with time zone" not in expires.type:
        ends = sql.SQL("{} AT TIME ZONE 'UTC'").format(ends)
    # By the database's clock. The difference of two numbers, since PostgreSQL cannot subtract an infinite timestamp.
    session_query = sql.SQL(
        "SELECT {}::text, (extract(epoch FROM {}) - extract(epoch FROM now()))::float8 FROM {} WHERE {} = %s"
    ).format(sql.Identifier(owner.name), ends, session.sql, sql.Identifier(token.name))
    # The subquery is evaluated once for each connection, so that the view is planned as in the query for one.
    batch_query = sql.SQL(
        "SELECT request.number, held.owner::text, held.expires_in, ARRAY("
        "SELECT granted.{role}::text FROM {view} AS granted "
        "WHERE granted.{diagram} = request.diagram::{diagram_type} AND granted.{diagram}::text = request.diagram "
        "AND granted.{member} = held.owner::text::{member_type}) "
        "FROM unnest(%(tokens)s::text[], %(diagrams)s::text[]) WITH ORDINALITY AS request (token, diagram, number) "
        "JOIN (SELECT {token} AS token, {owner} AS owner, "
        "(extract(epoch FROM {ends}) - extract(epoch FROM now()))::float8 AS expires_in FROM {session}) AS held "
        "ON held.token = request.token::{token_type}"
    ).format(
        role=sql.Identifier(role.name),
        view=access.sql,
        diagram=sql.Identifier(diagram.name),
        diagram_type=sql.SQL(diagram.type),
        member=sql.Identifier(member.name),
        member_type=sql.SQL(member.type),
        token=sql.Identifier(token.name),
        token_type=sql.SQL(token.type),
        owner=sql.Identifier(owner.name),
        ends=ends,
        session=session.sql,
    )
    # The first comparison can use an index; the second rejects other spellings of the same id, upper-case letters in a
    # UUID for example, each of which would open a room of its own.
    role_query = sql.SQL(
        "SELECT {role}::text FROM {view} WHERE {diagram} = %(diagram)s::{diagram_type} "
        "AND {diagram}::text = %(diagram)s AND {member} = %(user)s::{member_type}"
    ).format(
        role=sql.Identifier(role.name),
        view=access.sql,
        diagram=sql.Identifier(diagram.name),
        diagram_type=sql.SQL(diagram.type),
        member=sql.Identifier(member.name),
        member_type=sql.SQL(member.type),
    )
    user_query = sql.SQL("SELECT id FROM {}").format(user.sql)
    _check_query(connection, user_query, (), user, problems)
    _check_query(connection, session_query, ("",), session, problems)
    _check_query(connection, role_query, {"diagram": None, "user": None}, access, problems)
    if not problems:
        _check_query(connection, batch_query, {"tokens": [""], "diagrams": [None]}, access, problems)
    if problems:
        raise UnsuitableDatabase(problems)
    return Catalogue(
        session_query=session_query.as_string(connection),
        role_query=role_query.as_string(connection),
        batch_query=batch_query.as_string(connection),
        user_table=user.sql.as_string(connection),
        user_id_type=user_id.type,
        tables=Tables(schemas.own),
    )


def _check_query(
    connection: Connection,
    query: sql.Composed,
    parameters: Sequence[object] | Mapping[str, object],
    relation: Relation,
    problems: list[str],
) -> None:
    """Let PostgreSQL plan a query: it reports columns of types that cannot be compared, and missing privileges."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("EXPLAIN ") + query, parameters)
    except psycopg2.Error as error:
        problems.append(
            f'"{relation.name}" cannot be used: {error.diag.message_primary}. The query: {query.as_string(connection)}'
        )


def _column(relation: Relation, names: tuple[str, ...], problems: list[str]) -> Column:
    for name in names:
        if name in relation.columns:
            return Column(name, relation.columns[name])
    columns = ", ".join(sorted(relation.columns))
    problems.append(f'"{relation.name}" has no column {" or ".join(names)}; it has {columns}.')
    return Column("", "")


def _find(connection: Connection, names: tuple[str, ...], schemas: tuple[str, ...]) -> Relation | None:
    """Return the first of these tables or views that exists, in the first of these schemas that has it."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT nspname, relname, attname, format_type(atttypid, -1)
              FROM pg_class
              JOIN pg_namespace ON pg_namespace.oid = relnamespace
              JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
             WHERE relname = ANY(%(names)s) AND nspname = ANY(%(schemas)s) AND relkind IN ('r', 'p', 'v', 'm', 'f')
             ORDER BY array_position(%(names)s, relname::text), array_position(%(schemas)s, nspname::text)
            """,
            {"names": list(names), "schemas": list(schemas)},
        )
        rows = cursor.fetchall()
    if not rows:
        return None
    schema, name = rows[0][:2]
    return Relation(schema, name, {column: kind for *place, column, kind in rows if place == [schema, name]})
