"""Checkouts in which ``make`` runs, and ``make run`` in them.

The checkouts are made of links to this one, and their virtual environments lead to the Python that runs the tests, so
that nothing has to be installed.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from tests.support.clients import Client
from tests.support.daemons import PATIENCE, daemon_environment
from tests.support.databases import User

#: The id of a user without rights.
NOBODY = 65534

#: The Python that runs the tests, quoted for a shell.
PYTHON = shlex.quote(sys.executable)


def write_script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def environment(**settings: object) -> dict[str, str]:
    """Return the environment variables of a developer who has set nothing but these, with free ports."""
    return daemon_environment(None, BETTER_AUTH_SECRET="", BETTER_AUTH_URL="", **settings)


def failure(directory: Path, *arguments: str, user: int | None = None, **settings: object) -> str:
    """Run `make`, which must fail; return its output without its own last line."""
    ended = subprocess.run(
        ["make", *arguments],
        cwd=directory,
        env=environment(**settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=4 * PATIENCE,
        user=user,
    )
    assert ended.returncode, ended.stdout
    assert "Traceback" not in ended.stdout
    output = [line for line in ended.stdout.splitlines() if not line.startswith("make")]
    return "\n".join(output)


class Run:
    """A ``make run`` as in a terminal; creating one waits until the daemon serves."""

    def __init__(self, checkout: Path, *, user: int | None = None, **settings: object) -> None:
        """:param user: the id of the user who runs it; this process's by default."""
        self._environment = environment(**settings)
        self._output = checkout / "output"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                ["make", "run"],
                cwd=checkout,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=user,
            )
        try:
            self._wait(lambda: "\n  node " in self.output)
        except BaseException:
            self.interrupt()
            raise

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_error: object) -> None:
        self.interrupt()

    @property
    def output(self) -> str:
        return self._output.read_text(encoding="utf-8")

    @property
    def tokens(self) -> dict[str, str]:
        """The printed tokens, by the roles of their users."""
        return dict(re.findall(r"\((\w+)\)  token (\S+)", self.output))

    @property
    def snippet(self) -> str:
        """The printed JavaScript."""
        lines = self.output.splitlines()
        start = next(number for number, line in enumerate(lines) if line.startswith("  import"))
        end = next(number for number in range(start, len(lines)) if not lines[number].strip())
        return "\n".join(lines[start:end]) + "\n"

    @property
    def snippet_file(self) -> str:
        """The name under which to save it."""
        found = re.search(r"save these lines in an empty directory as (\S+)$", self.output, re.MULTILINE)
        assert found, self.output
        return found[1]

    @property
    def snippet_commands(self) -> list[list[str]]:
        """The commands that run it."""
        *_, commands = self.output.partition("and run there\n\n")
        return [shlex.split(line) for line in commands.partition("\n\n")[0].splitlines()]

    def kill(self) -> None:
        """Kill the daemon and ``make`` with SIGKILL."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def url(self, what: str) -> str:
        """Return a printed URL."""
        found = re.search(rf"^  {what} +(\S+)$", self.output, re.MULTILINE)
        assert found, self.output
        return found[1]

    def connect(self, role: str) -> Client:
        """Connect as the demo user with that role to the demo diagram."""
        server, _, room = self.url("WebSocket").rpartition("/diagram-")
        return Client(SimpleNamespace(ws_url=server), room, User("", role, self.tokens[role]))

    def interrupt(self) -> None:
        """Press Ctrl-C, and wait for the end."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGINT)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            raise

    def _wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 2 * PATIENCE
        while not condition():
            assert self._process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            # Nothing announces writes to a file.
            threading.Event().wait(0.05)
