"""The installation that is attacked: a daemon on a core of its own, bystanders, and who attacks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import define, field, frozen

from benchmarks.installation import postgres
from benchmarks.processes import Cores, cpu_seconds, forget_peak_memory, peak_memory, waited_seconds
from tests.support.attacks.framing import ROOM
from tests.support.bystanders import BystanderRooms, Bystanders, Observation
from tests.support.daemons import Daemon, daemon_environment
from tests.support.databases import TestDatabase, User

#: A daemon that holds so many bytes more than when it was new is not used for another attack.
WORN = 20 * 2**20

#: How often sessions are looked up again, in seconds.
RECHECK = 1.0

_BYSTANDERS = 3


@frozen
class Outcome:
    """What came of an attack.

    :ivar answer: what the server did: "taken", a close code, or why there is nothing to tell.
    :ivar seconds: how long it took; `size`, how many bytes were sent.
    :ivar cpu: the processor time that the daemon took, in seconds.
    :ivar turn: the longest that the reactor worked without a break, in seconds of processor time.
    :ivar before: the daemon's memory in bytes before, `peak` at most meanwhile, `after` afterwards.
    :ivar waited: for which share of the time the daemon could have run, and something else had its core.
    :ivar revoked: how long users whose session was deleted stayed, in seconds, where that was tried.
    """

    answer: str
    seconds: float = 0.0
    size: int = 0
    cpu: float = 0.0
    turn: float = 0.0
    before: int = 0
    peak: int = 0
    after: int = 0
    waited: float = 0.0
    observation: Observation | None = None
    revoked: Sequence[float] = ()


@frozen
class _Before:
    """How things stood when an attack began."""

    time: float
    memory: int
    cpu: float
    waited: float


@define(eq=False)
class Site:
    """What runs."""

    database: TestDatabase
    cores: Cores
    _turns_file: Path
    people: dict[str, User] = field(factory=dict)
    fresh: int = 0
    _daemon: Daemon | None = None
    _bystanders: Bystanders | None = None
    _signed_out: bool = False
    _before: _Before = field(init=False)

    def __attrs_post_init__(self) -> None:
        add = self.database.add_user
        self.people = {name: add(name) for name in ("bystander", "saver", "leaver", "viewer", "editor", "revoked")}
        for diagram in ("watched", "saved", "left"):
            self.database.add_diagram(
                diagram, self.people["bystander"], editor=self.people["saver"], viewer=self.people["leaver"]
            )
        diagram = ROOM.removeprefix("diagram-")
        editor, viewer, revoked = (self.people[name] for name in ("editor", "viewer", "revoked"))
        self.database.add_diagram(diagram, self.people["bystander"], editor=editor, viewer=viewer)
        self.database.grant(diagram, revoked, "editor")

    @property
    def daemon(self) -> Daemon:
        """The daemon that runs."""
        assert self._daemon is not None, "it has been started"
        return self._daemon

    @property
    def bystanders(self) -> Bystanders:
        """Who is there beside the attack."""
        assert self._bystanders is not None, "they have come"
        return self._bystanders

    @property
    def memory(self) -> int:
        """What the daemon holds, in bytes."""
        return self.daemon.memory or 0

    @property
    def cpu(self) -> float:
        """The processor time that the daemon has taken."""
        return cpu_seconds(self.daemon.pid)

    def prepare(self) -> None:
        """Have a daemon that is as good as new, and nothing stored of the room that is attacked."""
        if self._daemon is not None and self.memory > self.fresh + WORN:
            self.end()
        if self._daemon is None:
            self._start()
        elif self._signed_out:
            self.bystanders.__exit__(None, None, None)
            self._welcome()
        self.database.query("DELETE FROM yjs_document WHERE id = %s", (ROOM,))

    def _sign_in(self) -> None:
        self.database.query("DELETE FROM session")
        self._signed_out = False
        for user in self.people.values():
            self.database.query(
                'INSERT INTO session (id, token, "userId", "expiresAt", "updatedAt") '
                "VALUES (%s, %s, %s, now() + interval '1 day', now())",
                (f"session-{user.id}", user.token, user.id),
            )

    def _start(self) -> None:
        self.database.query("DELETE FROM yjs_document")
        # What is deleted may go at once, so that compacting is a part of each attack.
        settings = {"SESSION_RECHECK": RECHECK, "HISTORY_RETENTION": 0, "TURNS_FILE": self._turns_file}
        environment = daemon_environment(self.database, **settings)
        for name in ("SNAPSHOT_DEBOUNCE", "SNAPSHOT_MAX_WAIT"):
            del environment[name]
        with self.cores.starting_server():
            self._daemon = Daemon(environment)
        self._daemon.wait_until_ready()
        self._welcome()
        self.fresh = self.memory

    def _welcome(self) -> None:
        """Everybody is signed in, and the bystanders come."""
        self._sign_in()
        bystander, saver, leaver = (self.people[name].token for name in ("bystander", "saver", "leaver"))
        seats = BystanderRooms(
            self.daemon.ws_port, "diagram-watched", bystander, "diagram-saved", saver, "diagram-left", leaver
        )
        self._bystanders = Bystanders(seats, sorted(self.cores.others))
        time.sleep(1)

    def end(self) -> None:
        """Stop the daemon; one that does not answer is killed."""
        daemon, self._daemon = self._daemon, None
        if self._bystanders is not None:
            self._bystanders.__exit__(None, None, None)
            self._bystanders = None
        if daemon is not None:
            daemon.process.terminate()
            with suppress(Exception):
                daemon.process.wait(5)
            daemon.process.kill()
            daemon.process.wait()

    def sign_out(self, name: str) -> None:
        """Delete somebody's session, until the next attack."""
        self._signed_out = True
        self.database.query("DELETE FROM session WHERE token = %s", (self.people[name].token,))

    def settle(self, timeout: float) -> bool:
        """Wait until only the bystanders' documents are open; returns whether it came to that."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with suppress(OSError):
                if self.daemon.get("/health", timeout=timeout)[1]["documents"] <= _BYSTANDERS:
                    return True
            time.sleep(0.1)
        return False

    def watch(self) -> None:
        """Measure from now on."""
        forget_peak_memory(self.daemon.pid)
        self._before = _Before(time.perf_counter(), self.memory, self.cpu, waited_seconds(self.daemon.pid))
        self.bystanders.begin()

    def outcome(self, answer: str, seconds: float, size: int = 0) -> Outcome:
        """What was measured since then."""
        before, pid = self._before, self.daemon.pid
        share = (waited_seconds(pid) - before.waited) / (time.perf_counter() - before.time)
        cpu, peak, after = self.cpu - before.cpu, peak_memory(pid), self.memory
        observation = self.bystanders.end()
        turn = max(self._turns(before.time), default=0.0)
        return Outcome(answer, seconds, size, cpu, turn, before.memory, peak, after, share, observation)

    def _turns(self, since: float) -> Iterator[float]:
        """How long the reactor worked without a break, where that was long, in seconds of processor time."""
        for text in self._turns_file.read_text().splitlines():
            when, took = map(float, text.split())
            if when > since:
                yield took


@contextmanager
def site() -> Iterator[Site]:
    """Everything that runs, gone at the end."""
    cores = Cores.choose()
    cores.take_others()
    with TemporaryDirectory(prefix="canvas-collab-attacks-") as directory, postgres() as (database, _):
        place = Site(database, cores, Path(directory) / "turns")
        try:
            yield place
        finally:
            place.end()
