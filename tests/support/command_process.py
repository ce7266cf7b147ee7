"""A Node process that runs commands: a JSON command a line on standard input, a JSON answer a line on its output.

Answers carry the number of their command, so that several threads can wait for commands that take long.
"""

from __future__ import annotations

import itertools
import json
import queue
import subprocess
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from tests.support.yjs_values import Json


class CommandFailed(AssertionError):
    """A command failed, or a condition did not hold in time; the text includes Node's standard error."""


class CommandProcess:
    """The process, to be used in a with statement."""

    def __init__(self, command: Sequence[str], directory: Path, *, timeout: float = 10) -> None:
        """:param directory: the working directory.
        :param timeout: how long what commands wait for may take by default, in seconds; answers may take 10 s more.
        """
        self._command = command
        self._directory = directory
        self.timeout = timeout
        self._ids = itertools.count(1)
        self._answers: dict[int, queue.Queue[dict[str, Json]]] = {}
        self._lock = threading.Lock()
        self._stderr: deque[str] = deque(maxlen=200)

    def __enter__(self) -> CommandProcess:
        self._process = subprocess.Popen(
            self._command,
            cwd=self._directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            bufsize=1,
        )
        self._readers = [
            threading.Thread(target=self._read_answers, daemon=True),
            threading.Thread(target=self._read_stderr, daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(5)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait(5)
        for reader in self._readers:
            reader.join(5)
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()

    def call(self, command: str, *, patience: float | None = None, **details: Json) -> Json:
        """Run a command of the Node process, and return its result.

        :param patience: how long the answer is waited for, in seconds.
        :raises CommandFailed: if the command fails, or is not answered.
        """
        answers: queue.Queue[dict[str, Json]] = queue.Queue(1)
        with self._lock:
            number = next(self._ids)
            self._answers[number] = answers
        line = json.dumps({"id": number, "command": command, **details})
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
            answer = answers.get(timeout=self.timeout + 10 if patience is None else patience)
        except (queue.Empty, OSError) as error:
            raise CommandFailed(
                f"{command}: no answer from Node (exit {self._process.poll()})\n{self.stderr}"
            ) from error
        finally:
            with self._lock:
                del self._answers[number]
        if "error" in answer:
            raise CommandFailed(f"{command}: {answer['error']}\n{self.stderr}")
        return answer["result"]

    @property
    def stderr(self) -> str:
        """The last lines of Node's standard error."""
        return "".join(self._stderr)

    def _read_answers(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            with self._lock:
                waiting = self._answers.get(answer["id"])
            if waiting is not None:
                waiting.put(answer)
        with self._lock:
            for waiting in self._answers.values():
                if waiting.empty():
                    waiting.put({"error": "Node has ended"})

    def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._stderr.append(line)
