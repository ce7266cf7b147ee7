"""The daemon that is attacked, its database and users, and the bystanders in other documents."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import define, field, frozen

from benchmarks.attacks.outcome import Outcome
from benchmarks.installation import postgres
from benchmarks.processes import Cores, cpu_seconds, cpu_wait_seconds, peak_memory, reset_peak_memory
from tests.support.attacks.framing import ROOM
from tests.support.bystanders import BystanderRooms, Bystanders
from tests.support.daemons import Daemon, daemon_environment
from tests.support.databases import TestDatabase, User

#: A daemon that holds so many bytes more than after its start is replaced before the next attack.
MEMORY_GROWTH = 20 * 2**20

#: The daemon's interval for looking up sessions again, in seconds.
RECHECK = 1.0

#: The number of documents that bystanders have open.
_BYSTANDER_DOCUMENTS = 3


@frozen
class _Baseline:
    """The time and the daemon's figures when a measurement started."""

    time: float
    memory: int
    cpu: float
    cpu_wait: float


@define(eq=False)
class Environment:
    """Runs one daemon at a time, and measures it.

    :ivar users: by name: "viewer" and "editor" attack with that role in the room :data:`ROOM`; "revoked" attacks, and
        "leaver" does not, until their sessions are deleted; "bystander" and "saver" are the other bystanders.
    """

    database: TestDatabase
    cores: Cores
    _turns_file: Path
    users: dict[str, User] = field(factory=dict)
    _initial_memory: int = 0
    _daemon: Daemon | None = None
    _bystanders: Bystanders | None = None
    _has_signed_out: bool = False
    _baseline: _Baseline = field(init=False)

    def __attrs_post_init__(self) -> None:
        add = self.database.add_user
        self.users = {name: add(name) for name in ("bystander", "saver", "leaver", "viewer", "editor", "revoked")}
        for diagram in ("watched", "saved", "left"):
            self.database.add_diagram(
                diagram, self.users["bystander"], editor=self.users["saver"], viewer=self.users["leaver"]
            )
        diagram = ROOM.removeprefix("diagram-")
        editor, viewer, revoked = (self.users[name] for name in ("editor", "viewer", "revoked"))
        self.database.add_diagram(diagram, self.users["bystander"], editor=editor, viewer=viewer)
        self.database.grant(diagram, revoked, "editor")

    @property
    def daemon(self) -> Daemon:
        """The daemon, which has to be running."""
        assert self._daemon is not None, "it has been started"
        return self._daemon

    @property
    def bystanders(self) -> Bystanders:
        """The bystanders, who have to be connected."""
        assert self._bystanders is not None, "they have been started"
        return self._bystanders

    @property
    def memory(self) -> int:
        """The daemon's memory, in bytes."""
        return self.daemon.memory or 0

    @property
    def cpu(self) -> float:
        """The daemon's processor time so far, in seconds."""
        return cpu_seconds(self.daemon.pid)

    def prepare(self) -> None:
        """Provide a daemon without leftovers of earlier attacks: its memory, deleted sessions, and the stored room."""
        if self._daemon is not None and self.memory > self._initial_memory + MEMORY_GROWTH:
            self.stop()
        if self._daemon is None:
            self._start()
        elif self._has_signed_out:
            self._disconnect_bystanders()
            self._connect_bystanders()
        self.database.query("DELETE FROM yjs_document WHERE id = %s", (ROOM,))

    def stop(self) -> None:
        """Stop bystanders and daemon; a daemon that does not react is killed."""
        daemon, self._daemon = self._daemon, None
        self._disconnect_bystanders()
        if daemon is not None:
            daemon.process.terminate()
            with suppress(Exception):
                daemon.process.wait(5)
            daemon.process.kill()
            daemon.process.wait()

    def sign_out(self, name: str) -> None:
        """Delete a user's session; the next :meth:`prepare` creates it again."""
        self._has_signed_out = True
        self.database.query("DELETE FROM session WHERE token = %s", (self.users[name].token,))

    def wait_until_closed(self, timeout: float) -> bool:
        """Wait until only the bystanders' documents are open; return whether that happened in time."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with suppress(OSError):
                if self.daemon.get("/health", timeout=timeout)[1]["documents"] <= _BYSTANDER_DOCUMENTS:
                    return True
            time.sleep(0.1)
        return False

    def begin(self) -> None:
        """Start a measurement."""
        reset_peak_memory(self.daemon.pid)
        self._baseline = _Baseline(time.perf_counter(), self.memory, self.cpu, cpu_wait_seconds(self.daemon.pid))
        self.bystanders.begin()

    def end(self, answer: str, seconds: float, size: int = 0) -> Outcome:
        """End the measurement, and return it with the given figures of the attack."""
        baseline, pid = self._baseline, self.daemon.pid
        waited = (cpu_wait_seconds(pid) - baseline.cpu_wait) / (time.perf_counter() - baseline.time)
        cpu, peak, after = self.cpu - baseline.cpu, peak_memory(pid), self.memory
        observation = self.bystanders.end()
        turn = max(self._turns(baseline.time), default=0.0)
        return Outcome(answer, seconds, size, cpu, turn, baseline.memory, peak, after, waited, observation)

    def _start(self) -> None:
        self.database.query("DELETE FROM yjs_document")
        # Without a retention time, compaction deletes at once, so that every attack includes it.
        settings = {"SESSION_RECHECK": RECHECK, "HISTORY_RETENTION": 0, "TURNS_FILE": self._turns_file}
        # What is measured is what an attack costs that no rate limits.
        settings.update(MAX_MESSAGES_PER_SECOND=0, MAX_BYTES_PER_SECOND=0)
        environment = daemon_environment(self.database, **settings)
        for name in ("SNAPSHOT_DEBOUNCE", "SNAPSHOT_MAX_WAIT"):
            del environment[name]
        with self.cores.on_server_core():
            self._daemon = Daemon(environment)
        self._daemon.wait_until_ready()
        self._connect_bystanders()
        self._initial_memory = self.memory

    def _connect_bystanders(self) -> None:
        """Create the sessions of all users, and start the bystanders."""
        self.database.query("DELETE FROM session")
        self._has_signed_out = False
        for user in self.users.values():
            self.database.query(
                'INSERT INTO session (id, token, "userId", "expiresAt", "updatedAt") '
                "VALUES (%s, %s, %s, now() + interval '1 day', now())",
                (f"session-{user.id}", user.token, user.id),
            )
        bystander, saver, leaver = (self.users[name].token for name in ("bystander", "saver", "leaver"))
        seats = BystanderRooms(
            self.daemon.ws_port, "diagram-watched", bystander, "diagram-saved", saver, "diagram-left", leaver
        )
        self._bystanders = Bystanders(seats, sorted(self.cores.others))
        time.sleep(1)

    def _disconnect_bystanders(self) -> None:
        bystanders, self._bystanders = self._bystanders, None
        if bystanders is not None:
            bystanders.__exit__(None, None, None)

    def _turns(self, since: float) -> Iterator[float]:
        """Since a time, how long the reactor worked without a break each time it took long, in processor time."""
        for text in self._turns_file.read_text().splitlines():
            when, took = map(float, text.split())
            if when > since:
                yield took


@contextmanager
def environment() -> Iterator[Environment]:
    """Start PostgreSQL, and stop it and everything else at the end."""
    cores = Cores.choose()
    cores.leave_server_core()
    with TemporaryDirectory(prefix="canvas-collab-attacks-") as directory, postgres() as (database, _):
        environment = Environment(database, cores, Path(directory) / "turns")
        try:
            yield environment
        finally:
            environment.stop()
