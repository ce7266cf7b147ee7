"""Crash tests: rounds of editing that end with killed processes, and checks that no acknowledged edit is lost."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from attrs import define, field

from tests.support.crash_writers import Key, Writers, expected
from tests.support.daemons import Daemon, daemon_environment
from tests.support.databases import TestDatabase, User
from tests.support.servers import RestartablePostgreSQL

#: How many documents are edited at a time, how many writers each has, and after how many rounds new ones are made.
DOCUMENTS = 3
WRITERS = 2
ROUNDS_PER_DOCUMENT = 8


@define
class Report:
    """The results of the rounds.

    :ivar kinds: how many rounds ended with each kind of crash.
    :ivar made: how many updates were made.
    :ivar acknowledged: how many updates were acknowledged.
    :ivar kept: how many were stored; more than were acknowledged, as some were not yet.
    :ivar lost: how many were acknowledged but not stored.
    :ivar problems: other errors in what was stored.
    """

    rounds: int = 0
    kinds: Counter[str] = field(factory=Counter)
    made: int = 0
    acknowledged: int = 0
    kept: int = 0
    lost: int = 0
    problems: list[str] = field(factory=list)

    def __str__(self) -> str:
        kinds = ", ".join(f"{kind}: {count}" for kind, count in sorted(self.kinds.items()))
        return (
            f"{self.rounds} rounds ({kinds}); {self.made} updates made, {self.acknowledged} acknowledged, "
            f"{self.kept} kept, {self.lost} lost, {len(self.problems)} problems"
        )


class Crashes:
    """A PostgreSQL server, a daemon, and rounds of editing, each of which ends with a crash.

    Every round has new writers, so that no client sends again what was lost; they begin with reading the documents, as
    new clients.
    """

    def __init__(self, directory: Path, node: str, node_path: Path, seed: int) -> None:
        self._node = node
        self._node_path = node_path
        self._random = random.Random(seed)
        self._postgres = RestartablePostgreSQL(directory)
        self._daemon: Daemon | None = None
        self._writers: Writers | None = None
        self._rooms: list[str] = []
        self._all_rooms: list[str] = []
        # How many edits of each writer were acknowledged, and how many were stored when they were read first.
        self._acknowledged: dict[Key, int] = {}
        self._stored: dict[Key, int] = {}
        self.report = Report()

    def __enter__(self) -> Crashes:
        try:
            self._database = TestDatabase(self._postgres.url("postgres"))
            self._database.create_auth_tables()
            self._database.migrate()
            self._user: User = self._database.add_user("ada")
            # Snapshots are written all the time, so that crashes interrupt that as well.
            self._environment = daemon_environment(
                self._database, SNAPSHOT_DEBOUNCE=0.05, SNAPSHOT_MAX_WAIT=0.1, HISTORY_RETENTION=0, LOG_LEVEL="debug"
            )
            self._start_daemon()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all processes."""
        if self._writers is not None:
            self._writers.kill()
        if self._daemon is not None:
            self._daemon.kill()
        self._postgres.__exit__(None, None, None)

    @property
    def crashes(self) -> dict[str, Callable[[], None]]:
        """The kinds of crash; each leaves PostgreSQL running and no daemon."""
        return {
            "daemon killed": self._kill_daemon,
            "PostgreSQL killed, then the daemon": self._kill_daemon_in_outage,
            "PostgreSQL killed and back, then the daemon": self._kill_daemon_after_outage,
            "both killed at once": self._kill_both,
        }

    def run(self, rounds: int) -> Report:
        """Run so many rounds, and check all documents of all rounds at the end."""
        for number in range(rounds):
            self._run_round(number)
        for first in range(0, len(self._all_rooms), DOCUMENTS):
            self._read(self._all_rooms[first : first + DOCUMENTS])
        return self.report

    def _run_round(self, number: int) -> None:
        if number % ROUNDS_PER_DOCUMENT == 0:
            self._rooms = [self._add_room(f"{number}-{index}") for index in range(DOCUMENTS)]
        names = [f"{number}-{index}" for index in range(WRITERS)]
        writers = self._start_writers(self._rooms, names)
        writers.wait_for(len(self._rooms), "read")
        self._check(writers)
        kinds = list(self.crashes)
        kind = kinds[number % len(kinds)]
        # Half of the rounds end soon after their beginning, when documents are being created.
        count = self._random.randrange(self._random.choice((8, 600)))
        writers.wait_for(count, "made", "acknowledged")
        self.crashes[kind]()
        writers.kill()
        self._writers = None
        self._acknowledged.update(writers.acknowledged)
        self.report.rounds += 1
        self.report.kinds[kind] += 1
        self.report.made += sum(writers.made.values())
        self.report.acknowledged += sum(writers.acknowledged.values())
        self._start_daemon()

    def _kill_daemon(self) -> None:
        assert self._daemon is not None
        self._daemon.kill()

    def _kill_both(self) -> None:
        self._kill_daemon()
        self._postgres.kill()
        self._postgres.start()

    def _kill_daemon_in_outage(self) -> None:
        self._postgres.kill()
        self._wait(self._random.randrange(100), "made")
        self._kill_daemon()
        self._postgres.start()

    def _kill_daemon_after_outage(self) -> None:
        self._postgres.kill()
        self._wait(self._random.randrange(100), "made")
        self._postgres.start()
        self._wait(1 + self._random.randrange(50), "acknowledged")
        self._kill_daemon()

    def _wait(self, count: int, kind: str) -> None:
        assert self._writers is not None
        self._writers.wait_for(count, kind)

    def _read(self, rooms: Sequence[str]) -> None:
        readers = self._start_writers(rooms, [])
        readers.wait_for(len(rooms), "read")
        readers.kill()
        self._writers = None
        self._check(readers)

    def _check(self, readers: Writers) -> None:
        """Compare what was read with what must be stored."""
        for room, content in readers.read.items():
            acknowledged = {writer: count for (name, writer), count in self._acknowledged.items() if name == room}
            for writer in acknowledged.keys() | content.keys():
                stored = content.get(writer, {"last": 0, "list": [], "keys": {}, "text": ""})
                count = int(stored["last"])
                if stored != expected(count):
                    self.report.problems.append(f"{room}, {writer}: {stored} is not what {count} edits make")
                before = self._stored.get((room, writer))
                if before is None:
                    self._stored[room, writer] = count
                    self.report.lost += max(acknowledged.get(writer, 0) - count, 0)
                elif before != count:
                    self.report.problems.append(f"{room}, {writer}: there were {before} edits, and now {count}")
        self.report.kept = sum(self._stored.values())

    def _add_room(self, name: str) -> str:
        self._database.add_diagram(name, self._user)
        room = f"diagram-{name}"
        self._all_rooms.append(room)
        return room

    def _start_writers(self, rooms: Sequence[str], writers: Sequence[str]) -> Writers:
        self._writers = Writers(
            self._node,
            self._node_path,
            url=self._daemon.ws_url if self._daemon else "",
            token=self._user.token,
            rooms=list(rooms),
            writers=list(writers),
            seed=self._random.randrange(2**32),
        )
        return self._writers

    def _start_daemon(self) -> None:
        self._daemon = Daemon(self._environment)
        self._daemon.wait_until_ready()
