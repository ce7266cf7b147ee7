"""Whatever one client sends, everybody else goes on: bystanders in other documents watch while somebody attacks.

``python -m benchmarks.attacks`` is the same with messages of full size, and with floods.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pytest

from canvas_collab.protocol import sync
from tests.attacks.catalogue import SHAPES
from tests.attacks.encoding import frame
from tests.attacks.framing import ROOM
from tests.attacks.shape import Dialect, Shape
from tests.conftest import StartDaemon
from tests.harness.assailant import Assailant
from tests.harness.bystanders import Bystanders, Observation, Seats
from tests.harness.daemons import Daemon
from tests.harness.databases import TestDatabase, User

#: Of an attack, in bytes.
SIZE = 2**20

#: How long an edit of somebody else may take, in seconds: many times what it takes on a machine that does nothing else.
WAIT = 0.25

#: How long the daemon may take over one attack, in seconds, and how much it may hold afterwards, in bytes.
PATIENCE, KEPT = 15.0, 60 * 2**20

#: Bystanders are watched for at least so long, in seconds.
LEAST = 0.25

_NAMES = ("bystander", "saver", "leaver", "viewer", "editor")


class Scene:
    """A daemon with a document that is attacked, and others with bystanders in them."""

    def __init__(self, database: TestDatabase, daemon: Daemon) -> None:
        self.database = database
        self.daemon = daemon
        self.users: dict[str, User] = {name: database.add_user(name) for name in _NAMES}
        bystander, saver, leaver, viewer, editor = (self.users[name] for name in _NAMES)
        database.add_diagram("watched", bystander)
        database.add_diagram("saved", saver)
        database.add_diagram("left", leaver)
        database.add_diagram(ROOM.removeprefix("diagram-"), bystander, viewer=viewer, editor=editor)
        rooms = "diagram-watched", bystander.token, "diagram-saved", saver.token, "diagram-left", leaver.token
        self.bystanders = Bystanders(Seats(daemon.ws_port, *rooms))

    @property
    def memory(self) -> int:
        """What the daemon holds, in bytes; 0 where the system does not tell."""
        return self.daemon.memory or 0

    def assailant(self, role: str, dialect: Dialect = Dialect.Y_WEBSOCKET) -> Assailant:
        """Somebody with that role in the document that is attacked; "nobody" has none."""
        token = self.users[role].token if role in self.users else ""
        return Assailant(self.daemon.ws_port, ROOM, token, dialect)

    def attack(self, shape: Shape, role: str) -> Observation:
        """Attack, until the document is closed again; what the bystanders saw meanwhile."""
        self.database.query("DELETE FROM yjs_document WHERE id = %s", (ROOM,))
        with ExitStack() as stack:
            if stored := b"".join(frame(sync.encode_update(update)) for update in shape.stored(SIZE)):
                # It stays, so that what is there before is not loaded during the attack.
                builder = stack.enter_context(self.assailant("editor"))
                assert builder.send(stored, PATIENCE)
                assert builder.closed is None, "what is there before has been taken"
            data = shape.wire(SIZE, ROOM)
            self.bystanders.begin()
            least = time.monotonic() + LEAST
            with self.assailant(role, shape.dialect) as assailant:
                assert assailant.send(data, PATIENCE), f"the daemon does not answer: {shape.title}"
        self.daemon.wait_until(lambda: self.daemon.get("/health")[1]["documents"] <= 3, PATIENCE)
        self.daemon.wait_until(lambda: time.monotonic() > least)
        return self.bystanders.end()


@pytest.fixture
def scene(database: TestDatabase, start_daemon: StartDaemon) -> Iterator[Scene]:
    scene = Scene(database, start_daemon(database))
    with scene.bystanders:
        yield scene


def shapes_for(role: str) -> Sequence[Shape]:
    """What somebody with that role can send."""
    is_nobody = role == "nobody"
    return [shape for shape in SHAPES.values() if (shape.dialect is Dialect.STRANGER) == is_nobody]


@pytest.mark.parametrize("role", ["nobody", "viewer", "editor"])
def test_nobody_else_waits_while_somebody_attacks_and_memory_comes_back(scene: Scene, role: str) -> None:
    before, problems, worst = scene.memory, [], 0.0
    for shape in shapes_for(role):
        seen = scene.attack(shape, role)
        heard = seen.heard
        figures = (
            f"{shape.name}: {heard.p50 * 1000:.1f} ms, p99 {heard.p99 * 1000:.0f} ms, late {seen.late.p99 * 1000:.0f}"
        )
        print(figures)
        worst = max(worst, heard.p99)
        # What the machine does to the bystanders themselves is not the daemon's doing.
        if heard.p99 > WAIT + seen.late.p99 or seen.gone:
            problems.append(f"{figures} {seen.gone or ''}")
    print(f"as {role}, others waited {worst * 1000:.0f} ms at most (p99)")
    assert not problems
    scene.daemon.wait_until(lambda: scene.memory <= before + KEPT)
