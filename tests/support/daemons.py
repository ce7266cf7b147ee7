"""Real daemons for tests: `twistd canvas-collab` as a child process, on ports that are free."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.support.databases import SECRET, TestDatabase

ROOT = Path(__file__).resolve().parent.parent.parent

#: How long a daemon may take to start or to stop, in seconds; generous, for machines that are busy.
PATIENCE = 30.0


#: Ports for daemons, below those that systems give to outgoing connections: otherwise one of these could take a port
#: between its choice and the daemon's start.
PORTS = range(12_000, 32_000)


def _ports() -> Iterator[int]:
    """This process's part of the ports, each once before any comes again."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    mine = PORTS[worker::workers]
    first = random.randrange(len(mine))
    return itertools.cycle([*mine[first:], *mine[:first]])


_candidates = _ports()


def free_port() -> int:
    """A port on which nothing listens now, and that no other test will choose."""
    for port in _candidates:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("the ports do not end")


class Daemon:
    """A daemon that runs."""

    def __init__(
        self, environment: Mapping[str, str], arguments: tuple[str, ...] = (), twistd: tuple[str, ...] = ()
    ) -> None:
        """:param arguments: what follows ``canvas-collab`` on the command line.
        :param twistd: what comes before it.
        """
        self.ws_port = int(environment["WS_PORT"])
        self.health_port = int(environment["HEALTH_PORT"])
        self.lines: list[str] = []
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.support.twistd",
                "--nodaemon",
                "--pidfile=",
                *twistd,
                "canvas-collab",
                *arguments,
            ],
            cwd=ROOT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def ws_url(self) -> str:
        """Where clients connect to."""
        return f"ws://127.0.0.1:{self.ws_port}"

    @property
    def health_url(self) -> str:
        """Where the health is."""
        return f"http://127.0.0.1:{self.health_port}"

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    @property
    def memory(self) -> int | None:
        """How much memory it takes, in bytes, where the system tells."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return None
        resident = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
        return int(resident[1]) * 1024 if resident else None

    @property
    def output(self) -> str:
        """Everything it has written."""
        return "\n".join(self.lines)

    def get(self, path: str, timeout: float = 10) -> tuple[int, dict[str, Any]]:
        """The status and the JSON of a page of the health port."""
        try:
            with urllib.request.urlopen(self.health_url + path, timeout=timeout) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def wait_until_ready(self) -> None:
        """Return when clients can come; fail with what was written if the daemon ends before."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                self._reader.join(PATIENCE)
                raise AssertionError(f"the daemon ended with {self.process.returncode}:\n{self.output}")
            with contextlib.suppress(OSError):
                if self.get("/ready")[0] == 200:
                    return
            # There is no event to wait for before the daemon listens.
            threading.Event().wait(0.05)
        raise AssertionError(f"the daemon was not ready in {PATIENCE} s:\n{self.output}")

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """What it has logged: all events, or those of one name."""
        events = []
        for line in list(self.lines):
            if line.startswith("{"):
                event = json.loads(line)
                if name is None or event["event"] == name:
                    events.append(event)
        return events

    def wait_for_event(self, name: str, timeout: float = 10, **fields: object) -> dict[str, Any]:
        """The first event of that name with these fields, now or as soon as it is logged."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = [
                event for event in self.events(name) if all(event.get(key) == value for key, value in fields.items())
            ]
            return bool(found)

        with self._news:
            if not self._news.wait_for(look, timeout):
                raise AssertionError(f"no event {name!r} {fields} in {timeout} s:\n{self.output[-4000:]}")
        return found[0]

    def wait_until(self, condition: Callable[[], bool], timeout: float = 15) -> None:
        """Return when `condition` holds, which nothing announces: it is asked again and again."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"it did not come to that in {timeout} s:\n{self.output[-4000:]}")
            threading.Event().wait(0.02)

    def stop(self) -> int:
        """End it as an operator would, and return its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        return self._ended()

    def kill(self) -> int:
        """End it as a power cut would."""
        self.process.kill()
        return self._ended()

    def _ended(self) -> int:
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the daemon did not stop:\n{self.output[-4000:]}") from None
        self._reader.join(PATIENCE)
        return status

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        self.process.stdout.close()


def daemon_environment(database: TestDatabase | None, **overrides: object) -> dict[str, str]:
    """The environment for a daemon: this process's, less its own settings, with `overrides`."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in ("PATH", "HOME", "LANG", "TMPDIR", "USER", "VIRTUAL_ENV", "XDG_RUNTIME_DIR")
        or name.startswith(("COVERAGE", "COV_"))
    }
    environment.update(
        PYTHONPATH=str(ROOT),
        WS_PORT=str(free_port()),
        HEALTH_PORT=str(free_port()),
        BETTER_AUTH_SECRET=SECRET,
        BETTER_AUTH_URL="http://app.test",
        SNAPSHOT_DEBOUNCE="0.2",
        SNAPSHOT_MAX_WAIT="1",
        # Tests that close hundreds of connections need not wait a second for each.
        CLOSE_DELAY="0",
    )
    if database is not None:
        environment["DATABASE_URL"] = database.url
    environment.update({name: str(value) for name, value in overrides.items()})
    return environment
