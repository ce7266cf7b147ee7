"""Databases for tests: one for each test, in one embedded PostgreSQL."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import psycopg2
from attrs import field, frozen

from canvas_collab.access.authentication import sign
from canvas_collab.database.migrations import prepare_database
from canvas_collab.database.tables import DEFAULT_SCHEMA
from canvas_collab.development import create_auth_tables

#: The secret with which the tests' cookies are signed.
SECRET = "the secret of the tests, long enough to be good"


@frozen
class User:
    """A user with a session.

    :ivar token: the session's.
    """

    id: str
    name: str
    token: str = field(repr=False)

    @property
    def signed_token(self) -> str:
        """The token with its signature, as Better Auth's cookie has them before it is URL-encoded."""
        return f"{self.token}.{sign(self.token, SECRET)}"

    @property
    def cookie(self) -> str:
        """The value of a Cookie header with the session."""
        return f"better-auth.session_token={quote(self.signed_token, safe='')}"


@frozen
class TestDatabase:
    """The database of a test."""

    __test__ = False

    url: str

    def connect(self) -> Any:
        """Open a connection in autocommit mode that finds the daemon's tables without their schema."""
        connection = psycopg2.connect(self.url)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('search_path', current_setting('search_path') || ', collab', false)")
        return connection

    def query(self, sql: str, parameters: tuple[object, ...] | Mapping[str, object] = ()) -> list[tuple[Any, ...]]:
        """Run a statement, and return its rows if it has any."""
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, parameters)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def create_auth_tables(self) -> None:
        """Create Better Auth's tables."""
        create_auth_tables(self.url)

    def migrate(self, schema: str = DEFAULT_SCHEMA) -> None:
        """Create the daemon's tables in a schema."""
        prepare_database(self.url, True, schema)

    def add_user(self, name: str, lifetime: str = "1 day") -> User:
        """Add a user with a session.

        :param lifetime: how long the session is valid, a PostgreSQL interval.
        """
        user = User(f"user-{name}-{secrets.token_hex(4)}", name, secrets.token_hex(16))
        self.query(
            'INSERT INTO "user" (id, name, email, "emailVerified") VALUES (%s, %s, %s, true)',
            (user.id, name, f"{user.id}@test.invalid"),
        )
        self.query(
            'INSERT INTO session (id, token, "userId", "expiresAt", "updatedAt") '
            "VALUES (%s, %s, %s, now() + %s::interval, now())",
            (f"session-{user.id}", user.token, user.id, lifetime),
        )
        return user

    def add_diagram(self, diagram_id: str, owner: User, **members: User) -> None:
        """Add a diagram; the daemon's tables must exist.

        :param members: users by their roles.
        """
        self.query("INSERT INTO diagram (id, owner_id, name) VALUES (%s, %s, %s)", (diagram_id, owner.id, diagram_id))
        for role, user in members.items():
            self.grant(diagram_id, user, role)

    def grant(self, diagram_id: str, user: User, role: str) -> None:
        """Give a user a role in a diagram, in place of the present one."""
        self.query(
            "INSERT INTO diagram_member (diagram_id, user_id, role) VALUES (%s, %s, %s) "
            "ON CONFLICT (diagram_id, user_id) DO UPDATE SET role = excluded.role",
            (diagram_id, user.id, role),
        )

    def revoke(self, diagram_id: str, user: User) -> None:
        """Take a user's role away."""
        self.query("DELETE FROM diagram_member WHERE diagram_id = %s AND user_id = %s", (diagram_id, user.id))


class PostgreSQL:
    """The PostgreSQL server of a test run."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._template: str | None = None

    def url(self, name: str) -> str:
        """Return the URL of a database."""
        url: str = self._server.get_uri(name)
        return url

    @property
    def log(self) -> str:
        """What the server has logged."""
        return str(self._server.log.read_text(encoding="utf-8", errors="replace"))

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[TestDatabase]:
        """Create a database, and drop it at the end of the with statement; an empty one unless a template is given."""
        name = self._create(template)
        try:
            yield TestDatabase(self.url(name))
        finally:
            self._administer(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def migrated_database(self) -> Iterator[TestDatabase]:
        """Create a database with Better Auth's tables and the daemon's, and drop it at the end of the with statement.

        It is a copy of one that is made for the first test: making the tables each time would take longer.
        """
        if self._template is None:
            name = self._create("template1")
            database = TestDatabase(self.url(name))
            database.create_auth_tables()
            database.migrate()
            self._template = name
        with self.database(self._template) as database:
            yield database

    def _create(self, template: str) -> str:
        name = f"test_{secrets.token_hex(6)}"
        self._administer(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def _administer(self, statement: str) -> None:
        TestDatabase(self.url("postgres")).query(statement)
