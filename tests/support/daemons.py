"""Daemons for tests: ``twistd canvas-collab`` as a child process, on free ports."""

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

#: How long a daemon may take to start or to stop, in seconds; generous, for busy machines.
PATIENCE = 30.0

#: The ports for daemons, below those that systems use for outgoing connections: one of those could take a port between
#: its choice and the daemon's start.
PORTS = range(12_000, 32_000)


def _ports() -> Iterator[int]:
    """Yield the ports of this pytest-xdist worker, from a random one on, again and again."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    ports = PORTS[worker::workers]
    first = random.randrange(len(ports))
    return itertools.cycle([*ports[first:], *ports[:first]])


_candidates = _ports()


def free_port() -> int:
    """Return a port on which nothing listens, and which no other test chooses."""
    for port in _candidates:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("the ports do not end")


#: The command that starts another one with a listening socket.
_ACTIVATE = (sys.executable, "-m", "tests.support.socket_activation")


class Daemon:
    """A daemon process."""

    def __init__(
        self,
        environment: Mapping[str, str],
        arguments: tuple[str, ...] = (),
        twistd: tuple[str, ...] = (),
        listening: int | None = None,
        directory: Path = ROOT,
    ) -> None:
        """:param environment: its environment variables, with ``WS_PORT`` and ``HEALTH_PORT``.
        :param arguments: what follows ``canvas-collab`` on the command line.
        :param twistd: what comes before it.
        :param listening: the descriptor of a socket that it is given as systemd would.
        :param directory: where it is started: a checkout, or a copy of it, whose sources it runs.
        """
        self.ws_port = int(environment["WS_PORT"])
        self.health_port = int(environment["HEALTH_PORT"])
        self.lines: list[str] = []
        self._lines_changed = threading.Condition()
        self.process = subprocess.Popen(
            [
                *([] if listening is None else [*_ACTIVATE, str(listening)]),
                sys.executable,
                "-m",
                "tests.support.twistd",
                "--nodaemon",
                "--pidfile=",
                *twistd,
                "canvas-collab",
                *arguments,
            ],
            cwd=directory,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            pass_fds=[] if listening is None else [listening],
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def ws_url(self) -> str:
        """The URL that clients connect to, without a path."""
        return f"ws://127.0.0.1:{self.ws_port}"

    @property
    def health_url(self) -> str:
        """The URL of the health port, without a path."""
        return f"http://127.0.0.1:{self.health_port}"

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    @property
    def memory(self) -> int | None:
        """Its resident memory in bytes, or None where ``/proc`` is not available."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return None
        resident = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
        return int(resident[1]) * 1024 if resident else None

    @property
    def output(self) -> str:
        """Everything that it has written to standard output and standard error."""
        return "\n".join(self.lines)

    def get(self, path: str, timeout: float = 10) -> tuple[int, dict[str, Any]]:
        """Request a page of the health port; return the status and the JSON."""
        try:
            with urllib.request.urlopen(self.health_url + path, timeout=timeout) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def wait_until_ready(self) -> None:
        """Wait until ``/ready`` answers 200; fail with the output if the daemon ends before."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                self._reader.join(PATIENCE)
                raise AssertionError(f"the daemon ended with {self.process.returncode}:\n{self.output}")
            with contextlib.suppress(OSError):
                # Another process may have its port, and never answer.
                if self.get("/ready", timeout=2)[0] == 200:
                    return
            # There is no event to wait for before the daemon listens.
            threading.Event().wait(0.05)
        raise AssertionError(f"the daemon was not ready in {PATIENCE} s:\n{self.output}")

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """Return what was logged: all events, or those of one name."""
        events = []
        for line in list(self.lines):
            if line.startswith("{"):
                event = json.loads(line)
                if name is None or event["event"] == name:
                    events.append(event)
        return events

    def wait_for_event(self, name: str, timeout: float = 10, **fields: object) -> dict[str, Any]:
        """Wait until an event with this name and these fields is logged, and return the first one."""
        found: list[dict[str, Any]] = []

        def is_logged() -> bool:
            found[:] = [
                event for event in self.events(name) if all(event.get(key) == value for key, value in fields.items())
            ]
            return bool(found)

        with self._lines_changed:
            if not self._lines_changed.wait_for(is_logged, timeout):
                raise AssertionError(f"no event {name!r} {fields} in {timeout} s:\n{self.output[-4000:]}")
        return found[0]

    def wait_until(self, condition: Callable[[], bool], timeout: float = 15) -> None:
        """Wait until `condition` holds, polling it."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"the condition did not hold within {timeout} s:\n{self.output[-4000:]}")
            threading.Event().wait(0.02)

    def stop(self) -> int:
        """Terminate it with SIGTERM, and return its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        return self._wait_for_exit()

    def kill(self) -> int:
        """Kill it with SIGKILL, and return its exit status."""
        self.process.kill()
        return self._wait_for_exit()

    def _wait_for_exit(self) -> int:
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
            with self._lines_changed:
                self.lines.append(line.rstrip("\n"))
                self._lines_changed.notify_all()
        self.process.stdout.close()


def daemon_environment(database: TestDatabase | None, **overrides: object) -> dict[str, str]:
    """Return the environment variables for a daemon: few of this process's, defaults for tests, and `overrides`."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in ("PATH", "HOME", "LANG", "TMPDIR", "USER", "VIRTUAL_ENV", "XDG_RUNTIME_DIR")
        or name.startswith(("COVERAGE", "COV_", "CANVAS_COLLAB_PURE"))
    }
    environment.update(
        PYTHONPATH=str(ROOT),
        WS_PORT=str(free_port()),
        HEALTH_PORT=str(free_port()),
        BETTER_AUTH_SECRET=SECRET,
        BETTER_AUTH_URL="http://app.test",
        SNAPSHOT_DEBOUNCE="0.2",
        SNAPSHOT_MAX_WAIT="1",
        # Tests close hundreds of connections, and should not wait a second for each.
        CLOSE_DELAY="0",
        # All clients of a test have one address, and some tests make thousands of connections.
        MAX_CONNECTIONS_PER_ADDRESS="0",
        MAX_HANDSHAKES_PER_ADDRESS="0",
    )
    if database is not None:
        environment["DATABASE_URL"] = database.url
    environment.update({name: str(value) for name, value in overrides.items()})
    return environment
