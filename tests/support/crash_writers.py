"""The writers of crash tests: a Node process whose providers edit documents and report what was acknowledged."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: How long the next line of the writers, or their end, may take, in seconds.
PATIENCE = 30.0

#: A room and a writer.
Key = tuple[str, str]
#: The content of a document, by writer.
Content = Mapping[str, Any]


def expected(edits: int) -> dict[str, Any]:
    """Return the content that a writer of ``tests/node/crash_writers.mjs`` has made after so many edits."""
    items: list[int] = []
    keys: dict[str, int] = {}
    text = ""
    for number in range(1, edits + 1):
        kind = number % 4
        if kind == 0:
            text = f"{number},{text}" if number % 8 == 0 else f"{text}{number},"
        elif kind == 1:
            items.append(number)
        elif kind == 2:
            keys[str(number)] = number
        else:
            del items[: len(items) > 1]
            if number % 8 == 3:
                del keys[str(number - 1)]
    return {"last": edits, "list": items, "keys": keys, "text": text}


class Writers:
    """A Node process with providers that edit documents; its output tells what was made and acknowledged.

    :ivar read: the contents of the rooms as the process found them.
    :ivar made: how many edits each writer has made.
    :ivar acknowledged: how many of them were acknowledged.
    """

    def __init__(self, node: str, directory: Path, **options: object) -> None:
        self._lines: queue.Queue[list[Any] | None] = queue.Queue()
        self._process = subprocess.Popen(
            [node, str(directory / "crash_writers.mjs"), json.dumps(options)],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.read: dict[str, Content] = {}
        self.made: dict[Key, int] = {}
        self.acknowledged: dict[Key, int] = {}

    def next(self) -> str:
        """Wait for the next line, and return its kind; an empty string at the end."""
        line = self._lines.get(timeout=PATIENCE)
        if line is None:
            return ""
        kind, room, *rest = line
        if kind == "read":
            [self.read[room]] = rest
        else:
            writer, count = rest
            counts = self.made if kind == "made" else self.acknowledged
            counts[room, writer] = count
        return str(kind)

    def wait_for(self, count: int, *kinds: str) -> None:
        """Wait for `count` lines of these kinds."""
        while count > 0:
            kind = self.next()
            assert kind, "the writers have ended"
            count -= kind in kinds

    def kill(self) -> None:
        """Kill the process, and read the rest of its output."""
        self._process.kill()
        self._process.wait(PATIENCE)
        while self.next():
            pass
        self._reader.join(PATIENCE)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            # The last line of a killed process may be incomplete.
            if line.endswith("\n"):
                self._lines.put(json.loads(line))
        self._process.stdout.close()
        self._lines.put(None)
