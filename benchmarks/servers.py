"""The servers that are measured: how each is started, and how it gets a document to open."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from psycopg2.extras import execute_values

from benchmarks.client import Place
from benchmarks.processes import Cores, cpu_seconds, forget_peak_memory, give_way, memory, peak_memory, waited_seconds
from canvas_collab import __version__
from canvas_collab.document.document import Document
from canvas_collab.document.folding import snapshot_of
from canvas_collab.protocol.update import decode_update
from tests.support.daemons import ROOT, Daemon, daemon_environment, free_port
from tests.support.databases import TestDatabase

NODE_DIRECTORY = Path(__file__).resolve().parent / "node"

#: How long a server may take to start or to stop, in seconds.
PATIENCE = 30.0

#: How many shapes the large document has.
SHAPES = 60_000


@frozen
class LargeDocument:
    """A document that Yjs has made: its update, and the state vector that goes with it."""

    file: Path
    data: bytes = field(repr=False)
    vector: bytes

    @classmethod
    def draw(cls, directory: Path, shapes: int = SHAPES) -> LargeDocument:
        """Have Yjs draw it, unless it has been drawn already."""
        file = directory / f"document-{shapes}"
        if not file.exists():
            subprocess.run([node(), "document.mjs", str(shapes), str(file)], cwd=NODE_DIRECTORY, check=True)
        return cls(file, file.read_bytes(), Path(f"{file}.vector").read_bytes())


@define
class Running:
    """A server that runs.

    :ivar place: where its clients go.
    :ivar database_pid: its PostgreSQL, where it has one.
    """

    place: Place
    pid: int
    database_pid: int | None = None

    @property
    def cpu(self) -> float:
        """The processor time it has taken."""
        return cpu_seconds(self.pid)

    @property
    def database_cpu(self) -> float:
        """The processor time its database has taken."""
        return cpu_seconds(self.database_pid) if self.database_pid else 0.0

    @property
    def waited(self) -> float:
        """How long it could have run and had to wait for its core."""
        return waited_seconds(self.pid)

    @property
    def memory(self) -> int:
        """The memory it holds now."""
        return memory(self.pid)

    @property
    def peak_memory(self) -> int:
        """The most it has held since the last :meth:`forget_peak_memory`."""
        return peak_memory(self.pid)

    def forget_peak_memory(self) -> None:
        """Begin anew with the peak."""
        forget_peak_memory(self.pid)


@frozen
class Workshop:
    """What servers are started with: the cores, a database, and a directory that is gone at the end."""

    cores: Cores
    database: TestDatabase
    database_pid: int
    directory: Path


def node() -> str:
    """The Node that runs servers."""
    found = shutil.which("node")
    if found is None:
        raise FileNotFoundError("there is no node on the PATH; `make bench` sees to that")
    return found


class Server(ABC):
    """A kind of server."""

    #: What it is called on the command line and in results.
    name: str
    #: Whether clients speak Hocuspocus's protocol to it.
    hocuspocus = False
    #: Whether it can load a document from a store of its own.
    stores = True

    @property
    @abstractmethod
    def version(self) -> str:
        """Its version."""

    @abstractmethod
    def start(
        self, workshop: Workshop, rooms: int, members: int, stored: LargeDocument | None = None
    ) -> contextlib.AbstractContextManager[Running]:
        """Start it, with as many rooms as are wanted, and for so many people in each.

        :param stored: what is in its store for the first room; without it, others than canvas-collab have no store.
        """


class CanvasCollab(Server):
    """This server, with its settings' own defaults: sessions and roles looked up, every update journalled."""

    name = "canvas-collab"

    @property
    def version(self) -> str:
        """Its version."""
        return __version__

    @contextmanager
    def start(
        self, workshop: Workshop, rooms: int, members: int, stored: LargeDocument | None = None
    ) -> Iterator[Running]:
        """Start it."""
        database = workshop.database
        tokens = _fill(database, rooms, members)
        if stored is not None:
            # As the daemon itself would have written it.
            snapshot = snapshot_of(Document([decode_update(stored.data)]))
            database.query(
                "INSERT INTO yjs_document (id, data, layout, checksum) VALUES ('diagram-0', %s, %s, %s)",
                (snapshot.data, snapshot.layout, snapshot.checksum),
            )
        environment = daemon_environment(database)
        for name in ("SNAPSHOT_DEBOUNCE", "SNAPSHOT_MAX_WAIT"):
            del environment[name]
        with workshop.cores.starting_server():
            daemon = Daemon(environment)
        try:
            daemon.wait_until_ready()
            # The server should be measured, not how late the generator is when PostgreSQL has its core.
            give_way(workshop.database_pid)
            names = [f"diagram-{room}" for room in range(rooms)]
            place = Place("127.0.0.1", daemon.ws_port, names, tokens, self.hocuspocus)
            yield Running(place, daemon.pid, workshop.database_pid)
        finally:
            daemon.stop()


class CanvasCollabHocuspocus(CanvasCollab):
    """The same, spoken to as Hocuspocus providers do."""

    name = "canvas-collab-hocuspocus"
    hocuspocus = True


class _Peer(Server):
    """A server of somebody else, in a process of its own."""

    package: str

    @contextmanager
    def start(
        self, workshop: Workshop, rooms: int, members: int, stored: LargeDocument | None = None
    ) -> Iterator[Running]:
        """Start it."""
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        port = free_port()
        environment.update(PORT=str(port), HOST="127.0.0.1", NODE_ENV="production")
        if stored is not None:
            environment.update(self.keep(workshop, stored))
        log = workshop.directory / f"{self.name}.log"
        with log.open("ab") as output, workshop.cores.starting_server():
            process = subprocess.Popen(
                self.command(port),
                cwd=self.directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            _wait_for(process, port, log)
            names = [f"diagram-{room}" for room in range(rooms)]
            yield Running(Place("127.0.0.1", port, names, ["a-token"], self.hocuspocus), process.pid)
        finally:
            _end(process)

    @property
    def directory(self) -> Path:
        """Where it runs."""
        return NODE_DIRECTORY

    def keep(self, workshop: Workshop, document: LargeDocument) -> Mapping[str, str]:
        """Put a document into its store for the first room; returns the environment that tells of the store."""
        raise NotImplementedError

    @abstractmethod
    def command(self, port: int) -> list[str]:
        """The command that starts it."""

    @property
    def version(self) -> str:
        """Its version."""
        manifest = json.loads((NODE_DIRECTORY / "node_modules" / self.package / "package.json").read_text())
        return str(manifest["version"])


class _Hocuspocus(_Peer):
    hocuspocus = True
    major: str

    def command(self, port: int) -> list[str]:
        """The command that starts it."""
        return [node(), "hocuspocus.mjs", self.major]

    def keep(self, workshop: Workshop, document: LargeDocument) -> Mapping[str, str]:
        """Put a document into its store."""
        database = workshop.database
        database.query("CREATE TABLE IF NOT EXISTS hocuspocus_document (name TEXT PRIMARY KEY, data BYTEA NOT NULL)")
        database.query("ALTER TABLE hocuspocus_document ALTER COLUMN data SET STORAGE EXTERNAL")
        database.query("TRUNCATE hocuspocus_document")
        database.query("INSERT INTO hocuspocus_document VALUES ('diagram-0', %s)", (document.data,))
        return {"DATABASE_URL": database.url}


class Hocuspocus4(_Hocuspocus):
    """@hocuspocus/server 4."""

    name = "hocuspocus-4"
    major = "4"
    package = "hocuspocus-server-4"


class Hocuspocus2(_Hocuspocus):
    """@hocuspocus/server 2."""

    name = "hocuspocus-2"
    major = "2"
    package = "hocuspocus-server-2"


class YWebsocketServer(_Peer):
    """@y/websocket-server."""

    name = "y-websocket-server"
    package = "@y/websocket-server"

    def command(self, port: int) -> list[str]:
        """The command that starts it."""
        return [node(), "node_modules/@y/websocket-server/src/server.js"]

    def keep(self, workshop: Workshop, document: LargeDocument) -> Mapping[str, str]:
        """Put a document into its store."""
        store = workshop.directory / "level"
        shutil.rmtree(store, ignore_errors=True)
        subprocess.run([node(), "level.mjs", store, "diagram-0", document.file], cwd=NODE_DIRECTORY, check=True)
        return {"YPERSISTENCE": str(store)}


class PycrdtWebsocket(_Peer):
    """pycrdt-websocket on uvicorn."""

    name = "pycrdt-websocket"
    package = "pycrdt-websocket"
    stores = False

    @property
    def directory(self) -> Path:
        """Where it runs."""
        return ROOT

    def command(self, port: int) -> list[str]:
        """The command that starts it."""
        return [sys.executable, "-m", "benchmarks.pycrdt_server", str(port)]

    @property
    def version(self) -> str:
        """Its version."""
        return version("pycrdt-websocket")


SERVERS: Mapping[str, Server] = {
    server.name: server
    for server in (
        CanvasCollab(),
        CanvasCollabHocuspocus(),
        Hocuspocus4(),
        Hocuspocus2(),
        YWebsocketServer(),
        PycrdtWebsocket(),
    )
}


def _fill(database: TestDatabase, rooms: int, members: int) -> list[str]:
    """Make the users with their sessions and the diagrams anew; returns the sessions' tokens."""
    connection: Any = database.connect()
    with connection.cursor() as cursor:
        cursor.execute('TRUNCATE "user", diagram, yjs_document CASCADE')
        users = [(f"user-{member}", f"person-{member}") for member in range(members)]
        execute_values(
            cursor,
            'INSERT INTO "user" (id, name, email, "emailVerified") VALUES %s',
            [(user, name, f"{user}@test.invalid", True) for user, name in users],
        )
        tokens = [sha256(user.encode()).hexdigest()[:32] for user, _ in users]
        execute_values(
            cursor,
            'INSERT INTO session (id, token, "userId", "expiresAt", "updatedAt") VALUES %s',
            [(f"session-{user}", token, user) for (user, _), token in zip(users, tokens, strict=True)],
            "(%s, %s, %s, now() + interval '1 day', now())",
        )
        execute_values(
            cursor,
            "INSERT INTO diagram (id, owner_id, name) VALUES %s",
            [(str(room), "user-0", str(room)) for room in range(rooms)],
        )
        execute_values(
            cursor,
            "INSERT INTO diagram_member (diagram_id, user_id, role) VALUES %s",
            [(str(room), f"user-{member}", "editor") for room in range(rooms) for member in range(members)],
        )
    connection.close()
    return tokens


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"the server did not start:\n{log.read_text(errors='replace')[-2000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(3)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
