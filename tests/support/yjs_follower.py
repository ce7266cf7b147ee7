"""A Node process with real Yjs: makes messages of clients, judges updates, and follows rooms."""

from __future__ import annotations

import json
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.support.databases import User

#: The random histories that the messages are taken from.
HISTORIES = range(1, 31)


class Yjs:
    """A Node process with real Yjs, which makes messages and applies updates."""

    def __init__(self, node: str, directory: Path) -> None:
        self._command = [node, str(directory / "malformed.mjs")]

    def __enter__(self) -> Yjs:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def call(self, command: str, **details: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"command": command, **details}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline() or '{"error": "Node has ended"}')
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def corpus(self) -> list[bytes]:
        """Messages as real clients send them."""
        return [b64decode(message) for message in self.call("corpus", seeds=list(HISTORIES))]

    def judge(self, updates: Sequence[bytes], before: bytes) -> Iterator[tuple[str | None, float]]:
        """For each update, what Yjs throws when applying it to a document of `before`, and the seconds that takes."""
        for start in range(0, len(updates), 500):
            texts = [b64encode(update).decode() for update in updates[start : start + 500]]
            for verdict in self.call("judge", updates=texts, before=b64encode(before).decode()):
                yield verdict["error"], verdict["milliseconds"] / 1000

    def follow(self, name: str, url: str, user: User) -> None:
        """Keep a document synced with a room.

        :param url: the room's.
        """
        self.call("follow", name=name, url=url, headers={"Cookie": user.cookie})

    def settle(self, name: str) -> dict[str, Any]:
        """A report on that document, once it has everything that was sent before."""
        report: dict[str, Any] = self.call("settle", name=name)
        return report
