"""Under PM2 with the shipped configuration: it starts, stops in order, comes back, and PM2 never has the secrets."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import Client, typed
from tests.support.daemons import ROOT, daemon_environment
from tests.support.databases import SECRET, TestDatabase, User


class PM2:
    """A PM2 of its own, with the daemon in it."""

    def __init__(self, node: str, node_path: Path, home: Path, environment: dict[str, str]) -> None:
        self.home = home
        self.ws_url = f"ws://127.0.0.1:{environment['WS_PORT']}"
        self.health_port = environment["HEALTH_PORT"]
        file = home / "pm2.env"
        file.touch(mode=0o600)
        file.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in environment.items()))
        self._command = [node, str(node_path / "node_modules" / "pm2" / "bin" / "pm2")]
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "PM2_HOME": str(home / "pm2"),
            "CANVAS_COLLAB_ENV_FILE": str(file),
            "CANVAS_COLLAB_TWISTD": str(Path(sys.executable).parent / "twistd"),
        }

    def __call__(self, *arguments: str) -> str:
        """Run a command of PM2."""
        done = subprocess.run(
            [*self._command, *arguments], cwd=ROOT, env=self._environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def process(self) -> dict[str, Any]:
        """What PM2 says of the daemon."""
        [process] = json.loads(self("jlist"))
        found: dict[str, Any] = process
        return found

    @property
    def output(self) -> str:
        """What the daemon has written, as PM2 keeps it."""
        return "".join(path.read_text(encoding="utf-8") for path in (self.home / "pm2" / "logs").glob("canvas-*.log"))

    def wait_for(self, event: str, count: int = 1) -> None:
        """Return when the daemon has logged an event so often."""
        deadline = time.monotonic() + 30
        while self.output.count(f'"event": "{event}"') < count:
            assert time.monotonic() < deadline, self.output
            # Nothing tells when PM2 writes.
            threading.Event().wait(0.05)


@pytest.fixture
def ada(database: TestDatabase) -> User:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    return ada


@pytest.fixture
def pm2(database: TestDatabase, ada: User, node_executable: str, node_path: Path, tmp_path: Path) -> Iterator[PM2]:
    pm2 = PM2(node_executable, node_path, tmp_path, daemon_environment(database, LOG_LEVEL="debug"))
    try:
        pm2("start", str(ROOT / "deploy" / "ecosystem.config.cjs"))
        yield pm2
    finally:
        pm2("kill")


def test_it_serves_is_restarted_in_order_and_comes_back_after_a_crash(pm2: PM2, ada: User) -> None:
    pm2.wait_for("serving")
    with Client(pm2, "one", ada) as client:
        client.edit(typed("under PM2"))
        client.flush()
        pm2("restart", "canvas-collab")
        assert client.wait_for_close()[0] == 1012
    pm2.wait_for("stopped")
    pm2.wait_for("serving", 2)
    os.kill(pm2.process["pid"], signal.SIGKILL)
    pm2.wait_for("serving", 3)
    with Client(pm2, "one", ada) as client:
        assert client.text == "under PM2"


def test_what_pm2_keeps_has_no_secret(pm2: PM2, ada: User) -> None:
    pm2.wait_for("serving")
    pm2("save")
    kept = "".join(path.read_text(encoding="utf-8", errors="replace") for path in (pm2.home / "pm2").rglob("*.pm2"))
    assert "canvas-collab" in kept
    assert SECRET not in kept
    assert "postgresql://" not in kept
    assert SECRET not in pm2("jlist")


def test_it_is_given_more_time_to_stop_than_it_takes(pm2: PM2) -> None:
    environment = pm2.process["pm2_env"]
    assert environment["kill_timeout"] == 10_000
    assert environment["max_memory_restart"] == 2 * 2**30
    assert environment["exec_mode"] == "fork_mode"
