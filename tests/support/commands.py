"""Running the command ``canvas-collab`` in tests, and making the documents that it works on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from pycrdt import Doc, Text

from tests.support.clients import Client
from tests.support.daemons import ROOT, Daemon
from tests.support.databases import User

#: A fixture that runs the command on the test's database.
Command = Callable[..., str]


def run(*arguments: str, given: bytes | None = None, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command as a process.

    :param given: its standard input.
    :param environment: further environment variables.
    """
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR")}
    kept.update({name: value for name, value in os.environ.items() if name.startswith(("COV", "CANVAS_COLLAB_PURE"))})
    return subprocess.run(
        [sys.executable, "-m", "canvas_collab", *arguments],
        input=given,
        capture_output=True,
        cwd=ROOT,
        env={**kept, "PYTHONPATH": str(ROOT), **environment},
        timeout=60,
    )


class Author:
    """A client that edits a shared text, and returns the update of each edit."""

    def __init__(self) -> None:
        self.doc: Doc[Any] = Doc()
        self.text = self.doc.get("text", type=Text)
        self._updates: list[bytes] = []
        self._subscription = self.doc.observe(lambda event: self._updates.append(event.update))

    def write(self, text: str) -> bytes:
        """Append to the text."""
        self.text += text
        return self._updates[-1]

    def erase(self) -> bytes:
        """Delete the text."""
        self.text.clear()
        return self._updates[-1]


def edit(daemon: Daemon, user: User, *updates: bytes, diagram: str = "one") -> None:
    """Send updates, leave the room, and wait until it has left the daemon's memory."""
    with Client(daemon, diagram, user) as client:
        for update in updates:
            client.edit(update)
        client.flush()
    daemon.wait_until(lambda: daemon.get("/health")[1]["documents"] == 0)


def now() -> str:
    """Return the time, as the command's options take it."""
    return datetime.now(timezone.utc).isoformat()
