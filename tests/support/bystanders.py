"""People in other documents, who note how long their edits take while somebody attacks: a process of its own.

Two share a document: one types a character every 5 ms, and how long each takes to the other is noted.  A third uses
Hocuspocus's protocol in a document of its own, and notes how long an edit takes to be saved.  A fourth only sits there
until the server puts them out.
"""

from __future__ import annotations

import json
import os
import random
import select
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from time import perf_counter
from types import TracebackType
from typing import Any

from attrs import asdict, frozen

from canvas_collab.protocol import sync
from canvas_collab.protocol.lib0 import encode_var_string, encode_var_uint
from canvas_collab.protocol.update import decode_update
from tests.support.attacks.encoding import BINARY, CLOSE, PING, PONG, frame, take_frames
from tests.support.daemons import ROOT

#: How often somebody types, and how often an edit has to be saved, in seconds.
TYPING, SAVING = 0.005, 0.025

#: How long is waited for edits that are on their way when the measurement ends, in seconds.
PATIENCE = 5.0

#: Whose edits these are; another one in each process.
_AUTHOR = random.randrange(2**20, 2**21)


@frozen
class Seats:
    """Where the bystanders are, and their sessions' tokens.

    :ivar room: where two of them are, both with `token`.
    """

    port: int
    room: str
    token: str
    saving_room: str
    saving_token: str
    leaving_room: str
    leaving_token: str


@frozen
class Waits:
    """How long something took, in seconds; `late` is how late the bystanders were themselves."""

    count: int
    p50: float
    p99: float
    worst: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Waits:
        """From what was measured."""
        if not values:
            return cls(0, 0.0, 0.0, 0.0)
        ordered = sorted(values)
        return cls(len(ordered), _part(ordered, 0.5), _part(ordered, 0.99), ordered[-1])


def _part(ordered: Sequence[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


@frozen
class Observation:
    """What bystanders saw from :meth:`Bystanders.begin` to :meth:`Bystanders.end`.

    :ivar heard: how long edits took to the other; `saved`: until they were on disk.
    :ivar late: how late the bystanders were with their own sending, because of the machine.
    :ivar left: when the one who only sits there was put out, by `perf_counter`, if they were.
    :ivar gone: who lost their connection.
    """

    heard: Waits
    saved: Waits
    late: Waits
    left: float | None
    gone: tuple[str, ...]


class Bystanders:
    """The process, to be used in a with statement."""

    def __init__(self, seats: Seats, cores: Sequence[int] = ()) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.bystanders", json.dumps(asdict(seats)), json.dumps(list(cores))],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def __enter__(self) -> Bystanders:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def begin(self) -> None:
        """Forget what was measured, and measure."""
        self._ask("begin")

    def end(self) -> Observation:
        """What was measured since the beginning; edits on their way are waited for."""
        answer = self._ask("end")
        waits = {name: Waits(**answer[name]) for name in ("heard", "saved", "late")}
        return Observation(**waits, left=answer["left"], gone=tuple(answer["gone"]))

    def _ask(self, question: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(question + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError(f"the bystanders ended with {self._process.wait()}")
        return json.loads(line)


class _Person:
    """One connection."""

    def __init__(self, port: int, path: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: daemon\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self._received = bytearray()
        while b"\r\n\r\n" not in self._received:
            data = self.socket.recv(2**16)
            if not data:
                raise AssertionError(f"not let in: {self._received!r}")
            self._received += data
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        if b" 101 " not in head:
            raise AssertionError(f"not let in: {head!r}")
        self.socket.setblocking(False)
        self._unsent = b""
        self.gone_at: float | None = None

    def send(self, message: bytes, opcode: int = BINARY) -> None:
        """Send a message, or keep it until the socket takes it."""
        self._unsent += frame(message, opcode)
        self.flush()

    def flush(self) -> None:
        """Send what waits."""
        if self._unsent and self.gone_at is None:
            try:
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
            except BlockingIOError:
                pass
            except OSError:
                self.gone_at = perf_counter()

    def receive(self) -> list[bytes]:
        """The messages that have come in."""
        try:
            data = self.socket.recv(2**20)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self.gone_at = self.gone_at or perf_counter()
            return []
        self._received += data
        messages = []
        for opcode, payload in take_frames(self._received):
            if opcode == BINARY:
                messages.append(payload)
            elif opcode == PING:
                self.send(payload, PONG)
            elif opcode == CLOSE:
                self.gone_at = self.gone_at or perf_counter()
        return messages


class _Watch:
    """What the process does."""

    def __init__(self, seats: Seats) -> None:
        path = f"/{seats.room}?token={seats.token}"
        self._writer, self._reader = _Person(seats.port, path), _Person(seats.port, path)
        self._leaver = _Person(seats.port, f"/{seats.leaving_room}?token={seats.leaving_token}")
        self._saver = _Person(seats.port, "/")
        self._address = encode_var_string(seats.saving_room)
        token, version = encode_var_string(seats.saving_token), encode_var_string("4.8.0")
        self._saver.send(self._address + b"\x02\x00" + token + version)
        self._people = {
            "writer": self._writer, "reader": self._reader, "saver": self._saver, "leaver": self._leaver
        }  # fmt: skip
        #: When edits were sent, by their clocks.
        self._typed: dict[int, float] = {}
        self._clock = self._saved_clock = 0
        self._saving: deque[float] = deque()
        self._forget()

    def _forget(self) -> None:
        self._heard: list[float] = []
        self._saved: list[float] = []
        self._late: list[float] = []

    def run(self) -> None:
        """Type, save and answer until nobody asks any more."""
        self._say({})
        due = {"type": perf_counter(), "save": perf_counter()}
        poll = select.poll()
        people = {person.socket.fileno(): person for person in self._people.values()}
        for number in people:
            poll.register(number, select.POLLIN)
        poll.register(sys.stdin.fileno(), select.POLLIN)
        while True:
            now = perf_counter()
            if now >= due["type"]:
                self._late.append(now - due["type"])
                due["type"] = max(due["type"] + TYPING, now)
                self._type()
            if now >= due["save"]:
                due["save"] = max(due["save"] + SAVING, now)
                self._save()
            wait = max(min(due.values()) - perf_counter(), 0) * 1000
            for number, _ in poll.poll(wait):
                if number == sys.stdin.fileno():
                    question = sys.stdin.readline()
                    if not question:
                        return
                    if question == "begin\n":
                        self._forget()
                        self._say({})
                    else:
                        self._finish()
                else:
                    self._hear(people[number])
                    if people[number].gone_at is not None:
                        poll.unregister(number)
                        del people[number]
            for person in people.values():
                person.flush()

    def _type(self) -> None:
        self._clock += 1
        self._typed[self._clock] = perf_counter()
        self._writer.send(sync.encode_update(_character(self._clock)))

    def _save(self) -> None:
        self._saved_clock += 1
        self._saving.append(perf_counter())
        self._saver.send(self._address + sync.encode_update(_character(self._saved_clock)))

    def _hear(self, person: _Person) -> None:
        messages = person.receive()
        now = perf_counter()
        if person is self._reader:
            for message in messages:
                if message[:2] == b"\x00\x02":
                    runs = decode_update(sync.decode(message).update).runs.get(_AUTHOR, ())  # type: ignore[union-attr]
                    for run in runs:
                        for clock in range(run.clock, run.end):
                            if clock in self._typed:
                                self._heard.append(now - self._typed.pop(clock))
        elif person is self._saver:
            saved = self._address + b"\x08\x01"
            for message in messages:
                if message == saved and self._saving:
                    self._saved.append(now - self._saving.popleft())

    def _finish(self) -> None:
        """Wait for what is on its way, and tell what was measured."""
        deadline = perf_counter() + PATIENCE
        while (self._typed or self._saving) and perf_counter() < deadline:
            waiting = [person for person in self._people.values() if person.gone_at is None]
            if self._writer not in waiting or self._reader not in waiting or self._saver not in waiting:
                break
            ready, _, _ = select.select([person.socket for person in waiting], [], [], 0.05)
            for person in waiting:
                if person.socket in ready:
                    self._hear(person)
                person.flush()
        now = perf_counter()
        self._heard += [now - sent for sent in self._typed.values()]
        self._saved += [now - sent for sent in self._saving]
        self._typed.clear()
        left = self._leaver.gone_at
        gone = [name for name, person in self._people.items() if person.gone_at is not None and name != "leaver"]
        self._say(
            {
                "heard": asdict(Waits.of(self._heard)),
                "saved": asdict(Waits.of(self._saved)),
                "late": asdict(Waits.of(self._late)),
                "left": left,
                "gone": gone,
            }
        )
        self._forget()

    @staticmethod
    def _say(answer: Mapping[str, object]) -> None:
        print(json.dumps(answer), flush=True)


def _character(clock: int) -> bytes:
    """One more character in a text; the first clock is 1, in front of which there is nothing."""
    author = encode_var_uint(_AUTHOR)
    if clock == 1:
        # Clock 0 is in it, so that no gap remains.
        return b"\x01\x01" + author + b"\x00\x04\x01\x01t\x02ab\x00"
    origin = author + encode_var_uint(clock - 1)
    return b"\x01\x01" + author + encode_var_uint(clock) + b"\x84" + origin + b"\x01x\x00"


def main() -> None:
    """Run."""
    cores = json.loads(sys.argv[2])
    if cores:
        os.sched_setaffinity(0, cores)
    _Watch(Seats(**json.loads(sys.argv[1]))).run()


if __name__ == "__main__":
    main()
