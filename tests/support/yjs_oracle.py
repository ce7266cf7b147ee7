"""The judge of updates: real Yjs in a Node process beside the tests, and what this server would relay to clients."""

from __future__ import annotations

import json
import os
import select
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from attrs import field, frozen

from canvas_collab.document.document import Document
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.update import decode_update, encode_update

#: The longest that one history may take, in seconds; a client that takes longer hangs.
HANGING = 20.0

#: How many histories are judged by one command.
BATCH = 20


@frozen
class Failure:
    """A step of a client that broke: which client and which step, how, and on which of the relayed updates."""

    step: str
    error: str
    index: int | None = None

    @property
    def group(self) -> str:
        """What failures of the same kind have in common."""
        return f"{self.step} | {self.error}"

    @property
    def is_reading(self) -> bool:
        """Whether only a look at the document failed: what is somewhere is not what an application put there."""
        return self.step.endswith(": read")


@frozen
class History:
    """What came in for one document: what it held before, and the updates that were accepted after that."""

    before: Sequence[bytes] = field(repr=False)
    accepted: Sequence[bytes] = field(repr=False)

    def relayed(self) -> list[bytes]:
        """What was relayed of the accepted updates to those who have the document open: of each what was new."""
        document = Document(map(decode_update, self.before))
        relayed = []
        for data in self.accepted:
            taken = document.apply(decode_update(data))
            if taken:
                relayed.append(encode_update(taken.runs, taken.deletions))
        return relayed

    def encoded(self) -> dict[str, Any]:
        """The same for the Node process: what was relayed, and what a newcomer is told."""
        before = Document(map(decode_update, self.before))
        relayed = self.relayed()
        whole = Document(map(decode_update, [before.encode(), *relayed]))
        return {
            "before": b64encode(before.encode()).decode(),
            "relayed": [b64encode(update).decode() for update in relayed],
            "whole": b64encode(whole.encode()).decode(),
        }


def is_accepted(data: bytes) -> bool:
    """Whether the server takes an update."""
    try:
        return bool(decode_update(data, is_new=True))
    except Malformed:
        return False


class YjsOracle:
    """The Node process.  One that hangs is killed, and another one started."""

    def __init__(self, node: str | Path, directory: Path) -> None:
        self._command = [str(node), str(directory / "judge.mjs")]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> YjsOracle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    def check(self, histories: Sequence[History]) -> list[list[Failure]]:
        """For each history what broke."""
        verdicts: list[list[Failure]] = []
        for start in range(0, len(histories), BATCH):
            verdicts += self._judge([history.encoded() for history in histories[start : start + BATCH]])
        return verdicts

    def histories(self, seeds: Iterable[int]) -> list[list[bytes]]:
        """What real Yjs puts on the wire, for each seed."""
        found = self._call("histories", seeds=list(seeds))
        return [[b64decode(update) for update in history] for history in found]

    def nesting(self, depths: Sequence[int]) -> list[dict[str, Any]]:
        """What Yjs does with types that are nested so deeply."""
        answer: list[dict[str, Any]] = self._call("nesting", depths=list(depths))
        return answer

    def reduced(self, history: History) -> History:
        """The fewest updates of a history that break a client in the same way, found by leaving them out in turn."""
        groups = {failure.group for failure in self.check([history])[0] if not failure.is_reading}
        accepted = list(history.accepted)
        for update in history.accepted:
            if len(accepted) == 1:
                break
            fewer = [other for other in accepted if other is not update]
            [verdict] = self.check([History(history.before, fewer)])
            if groups & {failure.group for failure in verdict}:
                accepted = fewer
        return History(history.before, accepted)

    def _judge(self, encoded: list[dict[str, Any]]) -> list[list[Failure]]:
        try:
            answer = self._call("judge", histories=encoded)
        except TimeoutError:
            if len(encoded) == 1:
                return [[Failure("some client", "hangs")]]
            return [verdict for history in encoded for verdict in self._judge([history])]
        return [[Failure(**failure) for failure in verdict] for verdict in answer]

    def _call(self, command: str, **details: Any) -> Any:
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"command": command, **details}).encode() + b"\n")
        process.stdin.flush()
        line = bytearray()
        while not line.endswith(b"\n"):
            readable, _, _ = select.select([process.stdout], [], [], HANGING)
            if not readable:
                self._stop()
                raise TimeoutError(command)
            part = os.read(process.stdout.fileno(), 2**20)
            if not part:
                self._stop()
                raise AssertionError("Node has ended")
            line += part
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self._process

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()
