"""What the database's catalogue says of tables that are not ours: Better Auth's, and the view over the roles.

Better Auth's columns are camelCase under its own migrations and snake_case under Drizzle's; times come with a time zone
or without, and are UTC then; ids are text, uuid or integer.  All of that is found out here, once, at start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import psycopg2
from attrs import frozen
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

#: Better Auth's table names, and those it uses with ``usePlural``.
SESSION_TABLES = ("session", "sessions")
USER_TABLES = ("user", "users")
ACCESS_VIEW = "collab_access"


class UnsuitableDatabase(Exception):
    """The database cannot be used as it is; `problems` has a sentence for each reason, with the remedy."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@frozen
class Column:
    """A column's name and its type, without a length, in a spelling that SQL understands."""

    name: str
    type: str


@frozen
class Catalogue:
    """The queries that fit this database, as SQL text.

    `session_query` takes a token and answers the user's id and for how many more seconds the session is good.
    `role_query` takes a diagram's and a user's id by the names ``diagram`` and ``user`` and answers roles.
    `user_table` and `user_id_type` say where a user's id is found.
    """

    session_query: str
    role_query: str
    user_table: str
    user_id_type: str


def find_auth_tables(connection: Connection) -> list[str]:
    """What is missing of Better Auth's tables, a sentence for each; empty if they are there."""
    problems = []
    for candidates in (USER_TABLES, SESSION_TABLES):
        if _first_table(connection, candidates) is None:
            problems.append(
                f'There is no table "{candidates[0]}". It belongs to Better Auth: run the application\'s migrations '
                "first (and, if sessions are kept in a secondary storage, set session.storeSessionInDatabase)."
            )
    return problems


def read_catalogue(connection: Connection) -> Catalogue:
    """Find out how this database spells what we ask it for.

    :raises Unsuitable: naming everything that is missing, and what to do about it.
    """
    problems = find_auth_tables(connection)
    if _columns(connection, ACCESS_VIEW) == {}:
        problems.append(
            f"There is no view {ACCESS_VIEW}(diagram_id, user_id, role). Define it over the application's own tables, "
            "or start once with MIGRATE=on."
        )
    if problems:
        raise UnsuitableDatabase(problems)

    session = _first_table(connection, SESSION_TABLES) or ""
    user = _first_table(connection, USER_TABLES) or ""
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
    # Both times by the database's clock; each as a number first, since an infinite time has no difference to another.
    session_query = sql.SQL(
        "SELECT {}::text, (extract(epoch FROM {}) - extract(epoch FROM now()))::float8 FROM {} WHERE {} = %s"
    ).format(sql.Identifier(owner.name), ends, sql.Identifier(session), sql.Identifier(token.name))
    # The first comparison can use an index; the second refuses other spellings of the same id, upper-case letters in a
    # uuid for example, each of which would be a room of its own.
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
    _try_out(connection, session_query, ("",), f'"{session}"', problems)
    _try_out(connection, role_query, {"diagram": None, "user": None}, f'"{ACCESS_VIEW}"', problems)
    if problems:
        raise UnsuitableDatabase(problems)
    return Catalogue(
        session_query=session_query.as_string(connection),
        role_query=role_query.as_string(connection),
        user_table=sql.Identifier(user).as_string(connection),
        user_id_type=user_id.type,
    )


def _try_out(
    connection: Connection,
    query: sql.Composed,
    parameters: Sequence[object] | Mapping[str, object],
    table: str,
    problems: list[str],
) -> None:
    """Plan a query: that finds columns of types that do not go together, and missing privileges."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("EXPLAIN ") + query, parameters)
    except psycopg2.Error as error:
        problems.append(
            f"{table} cannot be used: {error.diag.message_primary}. What is asked of it: {query.as_string(connection)}"
        )


def _first_table(connection: Connection, candidates: tuple[str, ...]) -> str | None:
    return next((name for name in candidates if _columns(connection, name)), None)


def _column(connection: Connection, table: str, spellings: tuple[str, ...], problems: list[str]) -> Column:
    columns = _columns(connection, table)
    for name in spellings:
        if name in columns:
            return Column(name, columns[name])
    problems.append(f'"{table}" has no column {" or ".join(spellings)}; it has {", ".join(sorted(columns))}.')
    return Column("", "")


def _columns(connection: Connection, table: str) -> dict[str, str]:
    """The columns of a table or view that the search path finds, with their types; empty if there is none."""
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
