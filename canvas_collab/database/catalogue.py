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

#: Better Auth's names of its tables, without and with its option ``usePlural``.
SESSION_TABLES = ("session", "sessions")
USER_TABLES = ("user", "users")
ACCESS_VIEW = "collab_access"


class UnsuitableDatabase(Exception):
    """The database cannot be used as it is.  `problems` has a sentence for each reason, with the remedy."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@frozen
class Column:
    """A column's name, and its type as SQL, without a length."""

    name: str
    type: str


@frozen
class Catalogue:
    """The queries that fit this database, and the parts that other queries need, as SQL.

    `session_query` takes a session's token and returns the user's id and the seconds until the session expires.
    `role_query` takes the parameters ``diagram`` and ``user``, both ids, and returns the user's roles.
    `user_table` is the table of users, and `user_id_type` the type of its ids.
    `migrations` has the names of the migrations that were applied at this start.
    """

    session_query: str
    role_query: str
    user_table: str
    user_id_type: str
    migrations: tuple[str, ...] = field(default=(), eq=False)


def find_auth_tables(connection: Connection) -> list[str]:
    """Return a sentence for each of Better Auth's tables that does not exist."""
    problems = []
    for candidates in (USER_TABLES, SESSION_TABLES):
        if _existing_table(connection, candidates) is None:
            problems.append(
                f'There is no table "{candidates[0]}". It belongs to Better Auth: run the application\'s migrations '
                "first (and, if sessions are kept in a secondary storage, set session.storeSessionInDatabase)."
            )
    return problems


def read_catalogue(connection: Connection) -> Catalogue:
    """Read the names and types of the tables and columns that the daemon needs.

    :raises UnsuitableDatabase: naming everything that is missing, and the remedies.
    """
    problems = find_auth_tables(connection)
    if _columns(connection, ACCESS_VIEW) == {}:
        problems.append(
            f"There is no view {ACCESS_VIEW}(diagram_id, user_id, role). Define it over the application's own tables, "
            "or start once with MIGRATE=on."
        )
    if problems:
        raise UnsuitableDatabase(problems)

    session = _existing_table(connection, SESSION_TABLES) or ""
    user = _existing_table(connection, USER_TABLES) or ""
    token = _column(connection, session, ("token",), problems)
    expires = _column(connection, session, ("expiresAt", "expires_at"), problems)
    owner = _column(connection, session, ("userId", "user_id"), problems)
    user_id = _column(connection, user, ("id",), problems)
    diagram = _column(connection, ACCESS_VIEW, ("diagram_id",), problems)
    member = _column(connection, ACCESS_VIEW, ("user_id",), problems)
    role = _column(connection, ACCESS_VIEW, ("role",), problems)
    if problems:
        raise UnsuitableDatabase(problems)

    ends: sql.Composable = sql.Identifier(expires.name)
    if "with time zone" not in expires.type:
        ends = sql.SQL("{} AT TIME ZONE 'UTC'").format(ends)
    # By the database's clock. The difference of two numbers, since PostgreSQL cannot subtract an infinite timestamp.
    session_query = sql.SQL(
        "SELECT {}::text, (extract(epoch FROM {}) - extract(epoch FROM now()))::float8 FROM {} WHERE {} = %s"
    ).format(sql.Identifier(owner.name), ends, sql.Identifier(session), sql.Identifier(token.name))
    # The first comparison can use an index; the second rejects other spellings of the same id, upper-case letters in a
    # UUID for example, each of which would open a room of its own.
    role_query = sql.SQL(
        "SELECT {role}::text FROM {view} WHERE {diagram} = %(diagram)s::{diagram_type} "
        "AND {diagram}::text = %(diagram)s AND {member} = %(user)s::{member_type}"
    ).format(
        role=sql.Identifier(role.name),
        view=sql.Identifier(ACCESS_VIEW),
        diagram=sql.Identifier(diagram.name),
        diagram_type=sql.SQL(diagram.type),
        member=sql.Identifier(member.name),
        member_type=sql.SQL(member.type),
    )
    _check_query(connection, session_query, ("",), f'"{session}"', problems)
    _check_query(connection, role_query, {"diagram": None, "user": None}, f'"{ACCESS_VIEW}"', problems)
    if problems:
        raise UnsuitableDatabase(problems)
    return Catalogue(
        session_query=session_query.as_string(connection),
        role_query=role_query.as_string(connection),
        user_table=sql.Identifier(user).as_string(connection),
        user_id_type=user_id.type,
    )


def _check_query(
    connection: Connection,
    query: sql.Composed,
    parameters: Sequence[object] | Mapping[str, object],
    table: str,
    problems: list[str],
) -> None:
    """Let PostgreSQL plan a query: it reports columns of types that cannot be compared, and missing privileges."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("EXPLAIN ") + query, parameters)
    except psycopg2.Error as error:
        problems.append(
            f"{table} cannot be used: {error.diag.message_primary}. The query: {query.as_string(connection)}"
        )


def _existing_table(connection: Connection, candidates: tuple[str, ...]) -> str | None:
    return next((name for name in candidates if _columns(connection, name)), None)


def _column(connection: Connection, table: str, names: tuple[str, ...], problems: list[str]) -> Column:
    columns = _columns(connection, table)
    for name in names:
        if name in columns:
            return Column(name, columns[name])
    problems.append(f'"{table}" has no column {" or ".join(names)}; it has {", ".join(sorted(columns))}.')
    return Column("", "")


def _columns(connection: Connection, table: str) -> dict[str, str]:
    """Return the types of the columns of a table or view in the search path; empty if it does not exist."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT attname, format_type(atttypid, -1)
              FROM pg_attribute
             WHERE attrelid = to_regclass(quote_ident(%s)) AND attnum > 0 AND NOT attisdropped
            """,
            (table,),
        )
        return dict(cursor.fetchall())
