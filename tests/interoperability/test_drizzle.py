"""drizzle-kit beside a database that the daemon uses: it plans nothing for the daemon's tables."""

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

#: Runs drizzle-kit on a database: ``kit(database, "push", TABLES)``; returns what it prints.
DrizzleKit = Callable[..., str]

TABLES = "--schema=./drizzle_tables.mjs"
VIEW = "drizzle_access.mjs"
UNCHANGED = "No changes detected"


@pytest.fixture
def kit(node_executable: str, node_path: Path) -> DrizzleKit:
    program = node_path / "node_modules" / "drizzle-kit" / "bin.cjs"

    def run(database: TestDatabase, command: str, *options: str) -> str:
        done = subprocess.run(
            [
                node_executable,
                str(program),
                command,
                "--dialect=postgresql",
                f"--url={database.url}",
                *options,
            ],
            cwd=node_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        # Where it would ask whether to go on, it ends with an error instead.
        return done.stdout + done.stderr

    return run


@pytest.fixture
def application(empty_database: TestDatabase, kit: DrizzleKit) -> TestDatabase:
    """A database with the tables that drizzle-kit has created from Better Auth's definitions."""
    assert "Changes applied" in kit(empty_database, "push", TABLES)
    return empty_database


def use(database: TestDatabase, start_daemon: StartDaemon, add_diagram: str) -> None:
    """Start the daemon, which creates its tables, and let a user edit a document.

    :param add_diagram: the statement that makes the user the owner of the diagram "one".
    """
    ada = User("ada", "Ada", "token-of-ada")
    database.query("INSERT INTO \"user\" (id, name, email) VALUES ('ada', 'Ada', 'ada@test.invalid')")
    database.query(
        "INSERT INTO session (id, token, user_id, expires_at, updated_at)"
        " VALUES ('one', 'token-of-ada', 'ada', now() AT TIME ZONE 'UTC' + interval '1 day', now())"
    )
    daemon = start_daemon(database)
    database.query(add_diagram)
    with Client(daemon, "one", ada) as client:
        client.edit(typed("drawn"))
        client.flush()
    daemon.stop()
    assert database.query("SELECT user_id FROM collab.yjs_update_log") == [("ada",)]


def test_beside_a_used_installation_push_detects_no_changes_and_pull_finds_none_of_its_tables(
    application: TestDatabase, start_daemon: StartDaemon, kit: DrizzleKit, node_path: Path, tmp_path: Path
) -> None:
    use(application, start_daemon, "INSERT INTO diagram (id, owner_id, name) VALUES ('one', 'ada', 'One')")
    assert UNCHANGED in kit(application, "push", TABLES, "--verbose", "--strict")
    kit(application, "pull", f"--out={os.path.relpath(tmp_path, node_path)}")
    pulled = (tmp_path / "schema.ts").read_text(encoding="utf-8")
    assert "session" in pulled
    assert not any(name in pulled for name in ("yjs", "collab", "diagram"))


def test_generate_makes_one_migration_of_the_applications_tables_and_then_none(
    node_executable: str, node_path: Path, tmp_path: Path
) -> None:
    program = node_path / "node_modules" / "drizzle-kit" / "bin.cjs"
    command = [
        node_executable,
        str(program),
        "generate",
        "--dialect=postgresql",
        f"--schema=./{VIEW}",
        f"--out={os.path.relpath(tmp_path, node_path)}",
    ]
    for expected in ("Your SQL migration file", "No schema changes, nothing to migrate"):
        done = subprocess.run(command, cwd=node_path, capture_output=True, text=True, timeout=60)
        assert expected in done.stdout
    [migration] = tmp_path.glob("*.sql")
    assert "collab" not in migration.read_text(encoding="utf-8")


def test_a_view_of_the_application_is_left_alone_if_it_is_defined_as_existing(
    application: TestDatabase, start_daemon: StartDaemon, kit: DrizzleKit
) -> None:
    application.query(
        "CREATE VIEW collab_access AS SELECT 'one'::text AS diagram_id, id AS user_id, 'owner'::text AS role "
        'FROM "user"'
    )
    use(application, start_daemon, "SELECT")
    definition = (ROOT / "tests" / "node" / VIEW).read_text(encoding="utf-8").split("\n\n")[-1]
    assert definition in (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    assert UNCHANGED in kit(application, "push", f"--schema=./{VIEW}", "--verbose", "--strict")
    assert 'DROP VIEW "public"."collab_access"' in kit(application, "push", TABLES, "--verbose", "--strict")


def test_of_tables_that_an_earlier_version_created_in_public_push_says_so_until_they_are_moved(
    application: TestDatabase, kit: DrizzleKit
) -> None:
    application.migrate("public")
    assert 'DROP TABLE "yjs_update_log"' in kit(application, "push", TABLES, "--verbose", "--strict")
    [warning] = plans_of(application)
    assert "Drizzle manages the schema public" in warning.text
    page = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    [statements] = re.findall(r"^```sql\n(CREATE SCHEMA collab;.*?)^```$", page, re.MULTILINE | re.DOTALL)
    application.query(statements)
    assert UNCHANGED in kit(application, "push", TABLES, "--verbose", "--strict")
    assert [each.level for each in plans_of(application)] == [Level.OK]
