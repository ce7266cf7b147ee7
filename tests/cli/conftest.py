"""Fixtures for tests of the command ``canvas-collab``."""

from __future__ import annotations

import pytest

from tests.support.commands import Command, run
from tests.support.databases import TestDatabase, User


@pytest.fixture
def command(database: TestDatabase) -> Command:
    """A function that runs the command on the test's database: ``command("documents", status=1)``.

    It returns the standard output, or if a status other than 0 is expected, the standard error.
    """

    def run_it(*arguments: str, status: int = 0, given: bytes | None = None) -> str:
        done = run(*arguments, given=given, DATABASE_URL=database.url)
        assert done.returncode == status, done.stderr.decode()
        return (done.stderr if status else done.stdout).decode()

    return run_it


@pytest.fixture
def output_of(database: TestDatabase) -> Command:
    """Run a subcommand on the database; it returns the standard output and the standard error."""

    def run_it(*arguments: str, status: int = 0) -> str:
        done = run(*arguments, DATABASE_URL=database.url)
        output = (done.stdout + done.stderr).decode()
        assert done.returncode == status, output
        return output

    return run_it


@pytest.fixture
def ada(database: TestDatabase) -> User:
    """A user who owns the diagrams "one" and "two"."""
    ada = database.add_user("ada")
    for diagram in ("one", "two"):
        database.add_diagram(diagram, ada)
    return ada
