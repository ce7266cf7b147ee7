"""Many connections are authorized with one query, and each as it would be alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg2
import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet import reactor

from canvas_collab.access.access_list import AccessList
from canvas_collab.access.authentication import Credential, Sessions, Source
from canvas_collab.access.authorization import Authorization, Authorizer, Denied
from canvas_collab.access.batch_authorization import BatchAuthorizer, Claim
from canvas_collab.access.fair_semaphore import FairSemaphore
from canvas_collab.access.origins import OriginPolicy
from canvas_collab.access.roles import Access
from canvas_collab.config.application import RoutingSettings
from canvas_collab.database.catalogue import read_catalogue
from canvas_collab.database.pool import Database
from canvas_collab.database.schemas import find_schemas
from canvas_collab.scheduling import make_cooperator
from tests.support.databases import SECRET, TestDatabase, User


class CountingDatabase(Database):
    """Counts its queries."""

    count = 0

    async def query(self, sql: str, parameters: Any = ()) -> Any:
        self.count += 1
        return await super().query(sql, parameters)


class Waiting:
    is_closing = False


class Both:
    """An authorizer for one, and one for many."""

    def __init__(self, database: TestDatabase) -> None:
        connection = psycopg2.connect(database.url)
        catalogue = read_catalogue(connection, find_schemas(connection, database.url, "collab"))
        connection.close()
        self.database = CountingDatabase(reactor, database.url, 1)
        sessions = Sessions(self.database, catalogue, SECRET)
        access_list = AccessList(self.database, catalogue, "diagram-")
        self.batch = BatchAuthorizer(
            self.database,
            catalogue,
            sessions,
            access_list,
            "diagram-",
            make_cooperator(reactor),
        )
        self.one = Authorizer(
            reactor,
            RoutingSettings(),
            "better-auth",
            OriginPolicy((), "", True),
            sessions,
            access_list,
            FairSemaphore(1, 1),
            10,
        )

    async def alone(self, claim: Claim) -> Authorization | Denied:
        try:
            return await self.one.authorize(*claim, Waiting())
        except Denied as denied:
            return denied


@asynccontextmanager
async def both(database: TestDatabase) -> AsyncIterator[Both]:
    authorizers = Both(database)
    authorizers.database.startService()
    try:
        yield authorizers
    finally:
        authorizers.database.stopService()


def claim(user: User, diagram: str, text: str | None = None, source: Source = Source.QUERY) -> Claim:
    return f"diagram-{diagram}", Credential(user.token if text is None else text, source)


def comparable(verdict: Authorization | Denied) -> object:
    """A verdict without the seconds until the session expires, which pass."""
    if isinstance(verdict, Denied):
        return (verdict.status, verdict.code, verdict.public_reason, verdict.reason, verdict.user_id)
    assert 0 < verdict.session.expires_in <= 86400
    return evolve(verdict, session=evolve(verdict.session, expires_in=0))


@pytest_twisted.ensureDeferred
async def test_each_is_decided_as_alone_with_one_query_for_all(database: TestDatabase) -> None:
    ada, bob, late = database.add_user("ada"), database.add_user("bob"), database.add_user("late", "-1 second")
    database.add_diagram("one", ada, viewer=bob, editor=late)
    database.add_diagram("two", ada, commenter=bob)
    database.query("ALTER TABLE diagram_member DROP CONSTRAINT diagram_member_role_check")
    database.grant("two", late, "emperor")
    claims = [
        claim(ada, "one"),
        claim(bob, "one"),
        claim(bob, "two"),
        claim(ada, "one", ada.signed_token, Source.COOKIE),
        claim(ada, "one", ada.token, Source.COOKIE),
        claim(ada, "one", ada.token + ".x"),
        claim(ada, "one", "no such token"),
        claim(ada, "one", ""),
        claim(late, "one"),
        claim(bob, "none"),
        claim(bob, ""),
        claim(bob, "x" * 300),
        ("board-1", Credential(ada.token, Source.MESSAGE)),
        *[claim(ada, "two")] * 50,
    ]
    async with both(database) as authorizers:
        verdicts = await authorizers.batch.authorize(claims)
        assert authorizers.database.count == 1
        alone = [await authorizers.alone(each) for each in claims]
    assert [comparable(verdict) for verdict in verdicts] == [comparable(verdict) for verdict in alone]
    accesses = [verdict.access if isinstance(verdict, Authorization) else verdict.status for verdict in verdicts]
    assert accesses[:4] == [Access.WRITE, Access.READ, Access.READ, Access.WRITE]
    assert accesses[4:13] == [401, 401, 401, 401, 401, 403, 403, 403, 403]
    assert accesses[13:] == [Access.WRITE] * 50


@pytest.mark.parametrize("id_type", ["uuid", "char(36)", "varchar(80)", "text"])
@pytest.mark.parametrize("has_time_zone", [True, False])
@pytest_twisted.ensureDeferred
async def test_the_query_fits_tables_with_other_columns(
    empty_database: TestDatabase, id_type: str, has_time_zone: bool
) -> None:
    moment = "timestamptz" if has_time_zone else "timestamp"
    empty_database.query(
        f"""
        CREATE TABLE users (id uuid PRIMARY KEY);
        CREATE TABLE sessions (id serial, token varchar(255) UNIQUE, user_id uuid, expires_at {moment});
        CREATE TABLE drawing (id {id_type} PRIMARY KEY, owner uuid, kind text);
        CREATE VIEW collab_access AS SELECT id AS diagram_id, owner AS user_id, kind AS role FROM drawing;
        INSERT INTO users VALUES ('00000000-0000-0000-0000-00000000000a');
        INSERT INTO sessions (token, user_id, expires_at)
        SELECT 'token', id, (now() + interval '1 hour') AT TIME ZONE 'UTC' FROM users;
        INSERT INTO drawing SELECT '00000000-0000-0000-0000-00000000000b', id, 'viewer' FROM users;
        """
    )
    diagram = "00000000-0000-0000-0000-00000000000b"
    ada = User("", "ada", "token")
    claims = [claim(ada, diagram), claim(ada, diagram.upper()), claim(ada, diagram.replace("0b", "0c"))]
    async with both(empty_database) as authorizers:
        verdicts = await authorizers.batch.authorize(claims)
        alone = [await authorizers.alone(each) for each in claims]
    assert [isinstance(verdict, Authorization) for verdict in verdicts] == [True, False, False]
    assert [comparable(verdict) for verdict in verdicts] == [comparable(verdict) for verdict in alone]


@pytest_twisted.ensureDeferred
async def test_no_claims_are_no_trouble(database: TestDatabase) -> None:
    async with both(database) as authorizers:
        assert await authorizers.batch.authorize([]) == []
