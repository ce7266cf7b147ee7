"""Two daemons on one database and one bus."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from canvas_collab.protocol import awareness, sync
from canvas_collab.protocol.awareness import Entry
from tests.support.clients import Client
from tests.support.daemons import Daemon, daemon_environment
from tests.support.databases import PostgreSQL, TestDatabase
from tests.support.valkey_process import ValkeyProcess

#: Edits arrive long before they are committed.
JOURNAL_INTERVAL_MS = 1000

_numbers = count()


class DaemonPair:
    """The daemons, and two users who may edit."""

    def __init__(
        self, database: TestDatabase, valkey: ValkeyProcess, left: Daemon, right: Daemon, control_socket: str
    ) -> None:
        """:param control_socket: that of the left one."""
        self.control_socket = control_socket
        self.database = database
        self.valkey = valkey
        self.left = left
        self.right = right
        self.ada = database.add_user("ada")
        self.bob = database.add_user("bob")

    def new_diagram(self) -> str:
        """Add a diagram of Ada, who lets Bob edit it."""
        diagram = f"drawing{next(_numbers)}"
        self.database.add_diagram(diagram, self.ada, editor=self.bob)
        return diagram

    def committed(self, diagram: str) -> int:
        """Return how many updates of a diagram are committed."""
        sql = "SELECT count(*) FROM collab.yjs_update_log WHERE document_id = %s"
        [[count]] = self.database.query(sql, (f"diagram-{diagram}",))
        return int(count)


@contextmanager
def daemon_pair(postgres: PostgreSQL, directory: Path) -> Iterator[DaemonPair]:
    """Start two daemons that know of each other, and stop them."""
    with ExitStack() as stack:
        database = stack.enter_context(postgres.database())
        database.create_auth_tables()
        database.migrate()
        valkey = ValkeyProcess(directory)
        stack.callback(valkey.stop)
        control = Path(stack.enter_context(TemporaryDirectory(prefix="control")))
        daemons: list[Daemon] = []
        for name in ("left", "right"):
            environment = daemon_environment(
                database, BUS_URL=valkey.url, CONTROL_SOCKET=control / name, JOURNAL_INTERVAL_MS=JOURNAL_INTERVAL_MS
            )
            daemons.append(Daemon(environment))
            stack.callback(daemons[-1].stop)
        for daemon in daemons:
            daemon.wait_until_ready()
            daemon.wait_for_event("daemon joined")
        left, right = daemons
        yield DaemonPair(database, valkey, left, right, str(control / "left"))


def send_state(client: Client, client_id: int, clock: int, state: str) -> None:
    """Send the state of an awareness client."""
    client.send(sync.encode_awareness(awareness.encode([Entry(client_id, clock, state)])))


def received_states(client: Client, client_id: int) -> list[Entry]:
    """Return the states of an awareness client that a client was sent, in order."""
    entries = [entry for payload in client.awareness for entry in awareness.decode(payload)]
    return [entry for entry in entries if entry.client_id == client_id]


def wait_for_state(client: Client, client_id: int, state: str, above: int = 0) -> Entry:
    """Wait until a client is sent this state of an awareness client, at a clock above this one."""
    while True:
        for entry in received_states(client, client_id):
            if entry.state == state and entry.clock > above:
                return entry
        client.receive()
