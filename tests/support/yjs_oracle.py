"""A test oracle for updates: applies what the server would relay to Yjs clients, in a Node process."""

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

#: How long the check of one history may take, in seconds; then a client is taken to hang.
TIMEOUT = 20.0

#: How many histories are checked by one command.
BATCH = 20


@frozen
class Failure:
    """A failed step of a client.

    :ivar step: which client, and which step.
    :ivar error: how it failed.
    :ivar index: on which of the relayed updates.
    """

    step: str
    error: str
    index: int | None = None

    @property
    def group(self) -> str:
        """A text that is the same for failures of the same kind."""
        return f"{self.step} | {self.error}"

    @property
    def is_reading(self) -> bool:
        """Whether only reading the document failed: something is in it that no application would put there."""
        return self.step.endswith(": read")


@frozen
class History:
    """The updates of a document.

    :ivar before: those that make up the document at first.
    :ivar accepted: those that the server accepted after that.
    """

    before: Sequence[bytes] = field(repr=False)
    accepted: Sequence[bytes] = field(repr=False)

    def relayed(self) -> list[bytes]:
        """Return the new parts of the accepted updates, which the server relays to connected clients."""
        document = Document(map(decode_update, self.before))
        relayed = []
        for data in self.accepted:
            new_part = document.apply(decode_update(data))
            if new_part:
                relayed.append(encode_update(new_part.runs, new_part.deletions))
        return relayed

    def encoded(self) -> dict[str, Any]:
        """Return the history as JSON for the Node process, with what a new client would be sent."""
        before = Document(map(decode_update, self.before))
        relayed = self.relayed()
        whole = Document(map(decode_update, [before.encode(), *relayed]))
        return {
            "before": b64encode(before.encode()).decode(),
            "relayed": [b64encode(update).decode() for update in relayed],
            "whole": b64encode(whole.encode()).decode(),
        }


def is_accepted(data: bytes) -> bool:
    """Return whether the server accepts an update."""
    try:
        return bool(decode_update(data, reject_poison=True))
    except Malformed:
        return False


class YjsOracle:
    """The Node process, to be used in a with statement. If it hangs it is killed, and started anew."""

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
        """Return the failures of each history."""
        verdicts: list[list[Failure]] = []
        for start in range(0, len(histories), BATCH):
            verdicts += self._check([history.encoded() for history in histories[start : start + BATCH]])
        return verdicts

    def histories(self, seeds: Iterable[int]) -> list[list[bytes]]:
        """Return a history of updates for each seed, from random edits of Yjs clients."""
        found = self._call("histories", seeds=list(seeds))
        return [[b64decode(update) for update in history] for history in found]

    def nesting(self, depths: Sequence[int]) -> list[dict[str, Any]]:
        """Return how Yjs copes with shared types that are nested so deeply."""
        answer: list[dict[str, Any]] = self._call("nesting", depths=list(depths))
        return answer

    def parts(self, cases: Sequence[tuple[Sequence[bytes], Sequence[bytes], bytes]]) -> list[list[dict[str, Any]]]:
        """Return what Yjs makes of updates that arrive in parts, for each case with garbage collection and without.

        :param cases: what the client has before, the parts, and the same as one update.
        """
        encoded = [
            {
                "before": [b64encode(update).decode() for update in before],
                "parts": [b64encode(part).decode() for part in parts],
                "whole": b64encode(whole).decode(),
            }
            for before, parts, whole in cases
        ]
        answer: list[list[dict[str, Any]]] = self._call("parts", cases=encoded)
        return answer

    def reduced(self, history: History) -> History:
        """Leave out accepted updates one by one, as long as a client still fails in the same way."""
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

    def _check(self, encoded: list[dict[str, Any]]) -> list[list[Failure]]:
        try:
            answer = self._call("judge", histories=encoded)
        except TimeoutError:
            if len(encoded) == 1:
                return [[Failure("some client", "hangs")]]
            return [verdict for history in encoded for verdict in self._check([history])]
        return [[Failure(**failure) for failure in verdict] for verdict in answer]

    def _call(self, command: str, **details: Any) -> Any:
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"command": command, **details}).encode() + b"\n")
        process.stdin.flush()
        line = bytearray()
        while not line.endswith(b"\n"):
            readable, _, _ = select.select([process.stdout], [], [], TIMEOUT)
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
