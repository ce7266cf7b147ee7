"""The daemon that is sent mutated inputs, its rooms, and the bystanders."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import define, field

from benchmarks.installation import postgres
from benchmarks.mutations.outcome import Chunk, Waiting
from benchmarks.processes import cpu_wait_seconds, memory
from benchmarks.servers.node import node
from tests.support.bystanders import BystanderRooms, Bystanders, Latencies, Observation
from tests.support.daemons import ROOT, Daemon, daemon_environment
from tests.support.databases import TestDatabase, User
from tests.support.mutated.attacker import AttackProcess
from tests.support.mutated.surfaces import Surface, Target
from tests.support.yjs_follower import Yjs

#: How long the daemon may take to close all rooms after the clients have left, in seconds.
_PATIENCE = 600.0

#: By how much the priority of the attack is lower than that of the bystanders, which measure.
_NICENESS = 2


@define(eq=False)
class Environment:
    """Runs a daemon, and starts another one if it has crashed."""

    database: TestDatabase
    _directory: Path
    _users: dict[str, User] = field(factory=dict)
    _corpus: list[bytes] = field(factory=list)
    _daemon: Daemon | None = None

    def __attrs_post_init__(self) -> None:
        self._users = {name: self.database.add_user(name) for name in ("owner", "editor", "viewer", "bystander")}
        with self._yjs() as yjs:
            self._corpus = yjs.corpus()

    @property
    def daemon(self) -> Daemon:
        """The daemon, which is started if it does not run."""
        if self._daemon is None or self._daemon.process.poll() is not None:
            environment = daemon_environment(self.database, CONTROL_SOCKET=self._directory / "control.sock")
            for name in ("SNAPSHOT_DEBOUNCE", "SNAPSHOT_MAX_WAIT"):
                del environment[name]
            self._daemon = Daemon(environment)
            self._daemon.wait_until_ready()
        return self._daemon

    def stop(self) -> None:
        """Stop the daemon."""
        if self._daemon is not None:
            self._daemon.stop()

    def attack(self, surface: Surface, seed: str, number: int, count: int, *, watched: bool = True) -> Chunk:
        """Send so many inputs to a surface, in rooms of their own; wait until the daemon is idle, and measure.

        :param number: of this part of the inputs.
        :param watched: whether bystanders edit meanwhile, and measure.
        """
        daemon = self.daemon
        rooms = [self._add_room(f"{kind}-{surface.value}-{number}") for kind in ("attacked", "watched", "left")]
        attacked, elsewhere, left = rooms
        editor, viewer, bystander = (self._users[name] for name in ("editor", "viewer", "bystander"))
        target = Target(
            daemon.ws_port,
            daemon.health_port,
            str(self._directory / "control.sock"),
            attacked,
            (editor.token, editor.token, viewer.token),
            editor.cookie,
        )
        errors: list[str] = []
        token = bystander.token
        observed: list[Observation] = []
        with ExitStack() as stack:
            bystanders = [
                stack.enter_context(Bystanders(BystanderRooms(daemon.ws_port, room, token, room, token, left, token)))
                for room in ((attacked, elsewhere) if watched else ())
            ]
            for group in bystanders:
                group.begin()
            began, waited = time.perf_counter(), cpu_wait_seconds(daemon.pid)
            attack = AttackProcess(surface, target, self._corpus, f"{seed}/{surface.value}/{number}", count, _NICENESS)
            answers, failures = attack.wait()
            seconds = time.perf_counter() - began
            waited = cpu_wait_seconds(daemon.pid) - waited
            observed += [group.end() for group in bystanders]
        errors += failures
        for where, observation in zip(("near", "far"), observed, strict=False):
            errors += [f"the {name} {where} lost its connection" for name in observation.gone]
        if daemon.process.poll() is not None:
            errors.append(f"CRASH: the daemon ended with {daemon.process.returncode}: {daemon.output[-2000:]}")
        else:
            _wait_until_idle(daemon)
            with self._yjs() as yjs:
                yjs.follow("newcomer", f"{daemon.ws_url}/{attacked}", self._users["owner"])
                errors += [f"Yjs does not load {attacked}: {text}" for text in yjs.settle("newcomer")["failures"]]
            _wait_until_idle(daemon)
        levels = self._read_log(daemon, errors)
        return Chunk(
            daemon.pid,
            sum(answers.values()) - answers["not opened"],
            round(seconds, 2),
            dict(answers),
            memory(daemon.pid),
            sum(1 for _ in Path(f"/proc/{daemon.pid}/fd").iterdir()) if daemon.process.poll() is None else 0,
            _waiting(observed, _p50),
            _waiting(observed, _p99),
            _waiting(observed, _worst),
            round(waited / seconds, 3),
            dict(levels),
            errors,
        )

    def _yjs(self) -> Yjs:
        return Yjs(node(), ROOT / "tests" / "node")

    def _add_room(self, diagram: str) -> str:
        owner, editor, viewer, bystander = self._users.values()
        self.database.add_diagram(diagram, owner, editor=editor, viewer=viewer)
        self.database.grant(diagram, bystander, "editor")
        return f"diagram-{diagram}"

    @staticmethod
    def _read_log(daemon: Daemon, errors: list[str]) -> Counter[str]:
        """Read what was logged since the last call, and forget it; return the number of events by level."""
        lines = daemon.lines[:]
        del daemon.lines[: len(lines)]
        levels: Counter[str] = Counter()
        for line in lines:
            if not line.startswith("{"):
                errors.append(f"logged: {line}")
                continue
            event = json.loads(line)
            levels[event["level"]] += 1
            if event["level"] in ("error", "critical"):
                errors.append(f"logged: {line[:2000]}")
            elif event["level"] == "warn":
                levels[f"warn: {event['event']}"] += 1
        return levels


def _wait_until_idle(daemon: Daemon) -> None:
    """Wait until the daemon has no room, and no children that compact."""

    def is_idle() -> bool:
        health = daemon.get("/health", timeout=_PATIENCE)[1]
        return bool(health["documents"] == 0 == health["unsaved_updates"])

    daemon.wait_until(is_idle, _PATIENCE)
    children = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children")
    daemon.wait_until(lambda: not children.exists() or not children.read_text(), _PATIENCE)


def _p50(latencies: Latencies) -> float:
    return latencies.p50


def _p99(latencies: Latencies) -> float:
    return latencies.p99


def _worst(latencies: Latencies) -> float:
    return latencies.worst


def _waiting(observed: Sequence[Observation], take: Callable[[Latencies], float]) -> Waiting | None:
    if not observed:
        return None
    near, far = observed
    late = max(near.late, far.late, key=take)
    return Waiting(*(round(take(latencies) * 1000, 2) for latencies in (near.heard, far.heard, far.saved, late)))


@contextmanager
def environment() -> Iterator[Environment]:
    """Start PostgreSQL, and stop it and the daemon at the end."""
    with TemporaryDirectory(prefix="canvas-collab-mutations-") as directory, postgres() as (database, _):
        environment = Environment(database, Path(directory))
        try:
            yield environment
        finally:
            environment.stop()
