"""Bystanders: clients of other documents that measure, while a document is attacked, how long edits take.

They are a process of their own (:mod:`tests.support.bystander_process`), so that the attack does not slow them down:

- A writer and a reader share a document. The writer types a character every few milliseconds, and the time until the
  reader has received it is measured.
- A saver uses Hocuspocus's protocol in a second document; the time until an edit is confirmed as saved is measured.
- A leaver is idle in a third document, until the server closes its connection.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from attrs import asdict, frozen

from tests.support.daemons import ROOT


@frozen
class BystanderRooms:
    """The rooms of the bystanders, and the tokens of their sessions.

    :ivar port: the daemon's, on this machine.
    :ivar room: of the writer and the reader, who share the `token`.
    """

    port: int
    room: str
    token: str
    saving_room: str
    saving_token: str
    leaving_room: str
    leaving_token: str


@frozen
class Latencies:
    """How many durations were measured, their percentiles and their maximum, in seconds."""

    count: int
    p50: float
    p99: float
    worst: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Latencies:
        """Summarize measured durations; all zero if there are none."""
        if not values:
            return cls(0, 0.0, 0.0, 0.0)
        ordered = sorted(values)
        return cls(len(ordered), _percentile(ordered, 0.5), _percentile(ordered, 0.99), ordered[-1])


def _percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


@frozen
class Observation:
    """What the bystanders measured from :meth:`Bystanders.begin` to :meth:`Bystanders.end`.

    :ivar heard: how long edits took from the writer to the reader.
    :ivar saved: how long edits took until they were confirmed as saved.
    :ivar late: how late the writer was with its own edits, which shows how busy the machine is.
    :ivar left: when the leaver's connection was closed, by ``perf_counter``, or None.
    :ivar gone: which of the other bystanders lost their connections.
    """

    heard: Latencies
    saved: Latencies
    late: Latencies
    left: float | None
    gone: tuple[str, ...]


class Bystanders:
    """The process of the bystanders, to be used in a with statement."""

    def __init__(self, rooms: BystanderRooms, cores: Sequence[int] = ()) -> None:
        """:param cores: the processor cores on which the process may run; all if there are none."""
        program = [sys.executable, "-m", "tests.support.bystander_process"]
        self._process = subprocess.Popen(
            [*program, json.dumps(asdict(rooms)), json.dumps(list(cores))],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read_answer()

    def __enter__(self) -> Bystanders:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def begin(self) -> None:
        """Discard what was measured so far."""
        self._call("begin")

    def end(self) -> Observation:
        """Wait for edits on their way, and return what was measured since :meth:`begin`."""
        answer = self._call("end")
        latencies = {name: Latencies(**answer[name]) for name in ("heard", "saved", "late")}
        return Observation(**latencies, left=answer["left"], gone=tuple(answer["gone"]))

    def _call(self, command: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._read_answer()

    def _read_answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError(f"the bystanders ended with {self._process.wait()}")
        return json.loads(line)
