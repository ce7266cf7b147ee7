"""Prisma beside a database that the daemon uses: it plans nothing for the daemon's tables."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from canvas_collab.cli.doctor.finding import Level
from tests.conftest import StartDaemon
from tests.support.clients import Client, typed
from tests.support.daemons import ROOT
from tests.support.databases import TestDatabase, User
from tests.support.doctor import plans_of

#: Runs Prisma on a database: ``prisma(database, *PUSH)``; returns what it prints.
Prisma = Callable[..., str]

#: Without a client for JavaScript, which nobody needs here.
PUSH = ("db", "push", "--skip-generate")

UNCHANGED = "The database is already in sync with the Prisma schema."


@pytest.fixture
def prisma(node_executable: str, node_path: Path) -> Prisma:
    program = node_path / "node_modules" / "prisma" / "build" / "index.js"

    def run(database: TestDatabase, *command: str) -> str:
        done = subprocess.run(
            [node_executable, str(program), *command, "--config=prisma.config.mjs"],
            cwd=node_path,
            env={
                **os.environ,
                "DATABASE_URL": database.url,
                "CHECKPOINT_DISABLE": "1",
                # The native engines are not used, but would be downloaded if there were none.
                "PRISMA_QUERY_ENGINE_LIBRARY": node_executable,
                "PRISMA_SCHEMA_ENGINE_BINARY": node_executable,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        # Where it would ask whether to go on, it ends with an error instead.
        return done.stdout + done.stderr

    return run


@pytest.fixture
def application(empty_database: TestDatabase, prisma: Prisma) -> TestDatabase:
    """A database with the tables that Prisma has created from Better Auth's models."""
    assert "Your database is now in sync" in prisma(empty_database, *PUSH)
    return empty_database


def test_beside_a_used_installation_push_changes_nothing_and_pull_finds_none_of_its_tables(
    application: TestDatabase, start_daemon: StartDaemon, prisma: Prisma
) -> None:
    ada = User("ada", "Ada", "token-of-ada")
    application.query(
        "INSERT INTO \"user\" (id, name, email) VALUES ('ada', 'Ada', 'ada@test.invalid');"
        'INSERT INTO session (id, token, "userId", "expiresAt", "updatedAt")'
        " VALUES ('one', 'token-of-ada', 'ada', now() AT TIME ZONE 'UTC' + interval '1 day', now())"
    )
    daemon = start_daemon(application)
    application.query("INSERT INTO diagram (id, owner_id, name) VALUES ('one', 'ada', 'One')")
    with Client(daemon, "one", ada) as client:
        client.edit(typed("drawn"))
        client.flush()
    daemon.stop()
    assert UNCHANGED in prisma(application, *PUSH)
    pulled = prisma(application, "db", "pull", "--print")
    assert re.findall(r"^(?:model|view) (\w+)", pulled, re.MULTILINE) == ["User", "Session", "Account", "Verification"]
    assert application.query("SELECT user_id FROM collab.yjs_update_log") == [("ada",)]


def test_of_tables_that_an_earlier_version_created_in_public_push_would_drop_those_with_rows_until_they_are_moved(
    application: TestDatabase, prisma: Prisma
) -> None:
    application.migrate("public")
    application.query("INSERT INTO yjs_document (id, data) VALUES ('diagram-one', '\\x0000')")
    assert "You are about to drop the `yjs_document` table" in prisma(application, *PUSH)
    [warning] = plans_of(application)
    assert "Prisma manages the schema public" in warning.text
    page = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    [statements] = re.findall(r"^```sql\n(CREATE SCHEMA collab;.*?)^```$", page, re.MULTILINE | re.DOTALL)
    application.query(statements)
    assert UNCHANGED in prisma(application, *PUSH)
    assert [each.level for each in plans_of(application)] == [Level.OK]
