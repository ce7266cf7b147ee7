"""Whether doctor finds the tools that would drop the daemon's tables, and only these."""

from __future__ import annotations

import pytest

from canvas_collab.cli.doctor.finding import Level
from tests.cli.doctor.conftest import Doctor
from tests.support.databases import TestDatabase
from tests.support.doctor import plans_of

DRIZZLE = "CREATE SCHEMA drizzle; CREATE TABLE drizzle.__drizzle_migrations (id serial PRIMARY KEY)"
PRISMA = "CREATE TABLE _prisma_migrations (id text PRIMARY KEY)"


@pytest.mark.parametrize(("statement", "tool"), [(DRIZZLE, "drizzle-kit push"), (PRISMA, "prisma db push")])
def test_tables_beside_those_that_a_tool_manages_are_named_with_the_tool_and_the_remedy(
    empty_database: TestDatabase, statement: str, tool: str
) -> None:
    empty_database.create_auth_tables()
    empty_database.migrate("public")
    assert [each.level for each in plans_of(empty_database)] == [Level.OK]
    empty_database.query(statement)
    [found] = plans_of(empty_database)
    assert found.level is Level.WARNING
    assert tool in found.text
    assert "collab_migration, yjs_document, yjs_update_log" in found.text
    assert "docs/operating.md" in found.remedy


@pytest.mark.parametrize("statement", [DRIZZLE, PRISMA])
def test_beside_tables_in_a_schema_of_their_own_no_tool_is_an_alarm(database: TestDatabase, statement: str) -> None:
    database.query(statement)
    assert [each.level for each in plans_of(database)] == [Level.OK]


def test_tables_in_a_schema_that_has_nothing_of_the_application_are_no_alarm(empty_database: TestDatabase) -> None:
    empty_database.create_auth_tables()
    empty_database.migrate("elsewhere")
    empty_database.query(PRISMA)
    assert [each.level for each in plans_of(empty_database)] == [Level.OK]


def test_before_there_are_tables_nothing_can_be_dropped(empty_database: TestDatabase) -> None:
    empty_database.create_auth_tables()
    empty_database.query(DRIZZLE)
    assert [each.level for each in plans_of(empty_database)] == [Level.OK]


def test_the_command_makes_this_check(doctor: Doctor) -> None:
    assert [finding["level"] for finding in doctor() if finding["check"] == "other tools"] == ["ok"]
