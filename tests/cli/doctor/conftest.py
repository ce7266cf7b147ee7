"""A deployment that is right, for tests that get one thing wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import StartDaemon
from tests.support.commands import run
from tests.support.daemons import Daemon, free_port
from tests.support.databases import SECRET, TestDatabase, User


class Findings(list[dict[str, Any]]):
    """What doctor has found.

    :ivar status: its exit status.
    :ivar output: everything that it has printed.
    """

    status: int
    output: str

    def of(self, check: str) -> list[dict[str, Any]]:
        """Return the findings of one check that are not ok."""
        return [finding for finding in self if finding["check"] == check and finding["level"] != "ok"]

    def one(self, check: str, level: str, text: str, remedy: str) -> None:
        """Check that one finding of this check and level has these texts."""
        found = [finding for finding in self.of(check) if finding["level"] == level]
        assert any(text in finding["text"] and remedy in finding["remedy"] for finding in found), self.output
        assert self.status == (1 if any(finding["level"] == "problem" for finding in self) else 0)


Doctor = Callable[..., Findings]


@pytest.fixture
def doctor(database: TestDatabase, owner: User) -> Doctor:
    """A function that runs doctor in the environment of a right deployment, except for the given variables.

    ``doctor("--url", url, given=b"standard input", WS_PORT=1)``
    """
    ports = {"WS_PORT": str(free_port()), "HEALTH_PORT": str(free_port())}

    def examine(*arguments: str, given: bytes | None = None, daemon: Daemon | None = None, **other: object) -> Findings:
        if daemon is not None:
            ports.update(WS_PORT=str(daemon.ws_port), HEALTH_PORT=str(daemon.health_port))
        environment = {
            "APP_ENV": "production",
            "DATABASE_URL": database.url,
            "BETTER_AUTH_SECRET": SECRET,
            "BETTER_AUTH_URL": "https://app.example.com",
            "MAX_CONNECTIONS": "100",
            **ports,
            **{name: str(value) for name, value in other.items()},
        }
        done = run("doctor", "--json", *arguments, given=given, **environment)
        assert not done.stderr, done.stderr.decode()
        found = json.loads(done.stdout)
        findings = Findings(found["findings"])
        findings.status, findings.output = done.returncode, done.stdout.decode()
        assert found["problems"] == sum(finding["level"] == "problem" for finding in findings)
        assert all(finding["remedy"] for finding in findings if finding["level"] != "ok")
        for secret in (environment["BETTER_AUTH_SECRET"] or SECRET, owner.token):
            assert secret not in findings.output
        return findings

    return examine


@pytest.fixture
def owner(database: TestDatabase) -> User:
    """A user with a session, who owns the diagram "one"."""
    owner = database.add_user("ada")
    database.add_diagram("one", owner)
    return owner


@pytest.fixture
def served(database: TestDatabase, start_daemon: StartDaemon) -> Daemon:
    """A running daemon, under the path /collab."""
    return start_daemon(database, WS_PATH_PREFIX="/collab")


def required(executable: str | None, name: str) -> str:
    """Return the path of a program, or skip the test where there may be none."""
    if executable is None:
        if "CI" in os.environ:
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    return executable
