"""Runs the PostgreSQL of a wheel for development: never as root, and only while a process uses it.

A FIFO tells who uses it: each process has it open for writing.  When the last of them has ended, in whichever way, the
reader is at the end of the file and stops PostgreSQL.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import psycopg2

from canvas_collab.embedded_cluster import Cluster, PostgresError, find_cluster, last_line

#: The names of the lock and the FIFO beside the data.
LOCK = "lock"
USERS = "users"

#: How long PostgreSQL may take to start or to stop, in seconds.
PATIENCE = 30.0

#: The longest path of a socket's directory, in bytes: a socket's whole path may have 103 on some systems.
MAX_SOCKET_DIRECTORY = 80

#: A shell script that runs the server of its arguments, and stops it when standard input, the FIFO, ends.
_GUARD = (
    "exec 3<&0 </dev/null; "
    '"$@" 3<&- & server=$!; '
    '{ read -r _ <&3; kill -INT "$server"; } & watch=$!; '
    "exec 3<&-; "
    'wait "$server"; status=$?; kill "$watch" 2>/dev/null; exit "$status"'
)


class EmbeddedPostgres:
    """A PostgreSQL server that this process uses until :meth:`release` is called, or until it ends.

    :ivar url: the libpq URL of its database ``postgres``.
    """

    def __init__(
        self,
        url: str,
        users: Path,
        descriptor: int,
        guard: subprocess.Popen[bytes] | None = None,
        sockets: Path | None = None,
    ) -> None:
        """:param users: the FIFO, which is open for writing as `descriptor`.
        :param guard: the process that runs the server, if this process has started it.
        :param sockets: the temporary directory of its socket, if it has one.
        """
        self.url = url
        self._users = users
        self._descriptor = descriptor
        self._guard = guard
        self._sockets = sockets

    def release(self) -> None:
        """Stop using the server.  If no other process uses it, it stops; the process that started it waits for that."""
        os.close(self._descriptor)
        # The directory may have been deleted.
        with suppress(OSError, subprocess.TimeoutExpired), _locked(self._users.parent / LOCK):
            if self._guard is not None and not _is_used(self._users):
                self._guard.wait(PATIENCE)
                if self._sockets is not None:
                    self._sockets.rmdir()


def _is_used(users: Path) -> bool:
    """Return whether a process has the FIFO open for writing."""
    reader = os.open(users, os.O_RDONLY | os.O_NONBLOCK)
    try:
        os.read(reader, 1)
    except BlockingIOError:
        return True
    finally:
        os.close(reader)
    return False


def start_postgres(directory: Path) -> EmbeddedPostgres:
    """Use the server whose data is under `directory`, an existing directory; start it if it does not run.

    :raises PostgresMissing: if the package with PostgreSQL is not installed.
    :raises PostgresError: if it cannot be initialized or started.
    :raises OSError: if the directory cannot be written.
    """
    with _locked(directory / LOCK):
        cluster = find_cluster(directory)
        users = directory / USERS
        if not users.exists():
            os.mkfifo(users, 0o600)
        url = _url_of_running(cluster.data)
        if url is not None:
            with suppress(OSError):
                # Fails if nobody reads, which is so if nothing stops this server when its users have ended.
                return EmbeddedPostgres(url, users, os.open(users, os.O_WRONLY | os.O_NONBLOCK))
            with suppress(PostgresError):
                # Fails if the server has stopped meanwhile.
                cluster.run("pg_ctl", "stop", "-D", str(cluster.data), "-m", "fast", "-w", "-t", str(int(PATIENCE)))
        if not (cluster.data / "PG_VERSION").exists():
            _initialize(cluster)
        return _start(cluster, users, directory / "postgres.log")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock of a file during the with statement."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _initialize(cluster: Cluster) -> None:
    """Create the data directory, completely or not at all."""
    new = cluster.data.with_name(f"{cluster.data.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    if cluster.identity:
        os.chown(new, cluster.identity["user"], cluster.identity["group"])
    cluster.run("initdb", "-D", str(new), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C")
    new.rename(cluster.data)


def _start(cluster: Cluster, users: Path, log: Path) -> EmbeddedPostgres:
    sockets = cluster.data
    if len(os.fsencode(sockets)) > MAX_SOCKET_DIRECTORY:
        sockets = Path(tempfile.mkdtemp(prefix="canvas-collab-"))
        if cluster.identity:
            os.chown(sockets, cluster.identity["user"], cluster.identity["group"])
    reader = os.open(users, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(users, os.O_WRONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    program = str(cluster.programs / "postgres")
    server = [program, "-D", str(cluster.data), "-k", str(sockets), "-h", "", "-p", "5432"]
    with log.open("wb") as output:
        guard: subprocess.Popen[bytes] = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "sh", *server],
            stdin=reader,
            stdout=output,
            stderr=output,
            cwd="/",
            # Ctrl-C in a terminal is for the daemon, which has to commit before PostgreSQL stops.
            start_new_session=True,
            **cluster.identity,
        )
    os.close(reader)
    started = EmbeddedPostgres(_url(sockets), users, writer, guard, sockets if sockets != cluster.data else None)
    deadline = time.monotonic() + PATIENCE
    while not _accepts_connections(started.url):
        if guard.poll() is not None or time.monotonic() > deadline:
            os.close(writer)
            raise PostgresError(f"postgres: {last_line(log.read_text(errors='replace'))} (see {log})")
        time.sleep(0.02)
    return started


def _url(sockets: Path) -> str:
    return f"postgresql://postgres:@/postgres?host={quote(str(sockets))}&port=5432"


def _url_of_running(data: Path) -> str | None:
    """Return the URL of the server that runs on this data, or None; the file of its process id may be stale."""
    try:
        url = _url(Path((data / "postmaster.pid").read_text(encoding="utf-8").splitlines()[4]))
    except (OSError, IndexError):
        return None
    return url if _accepts_connections(url, or_will=True) else None


def _accepts_connections(url: str, *, or_will: bool = False) -> bool:
    """Return whether a server answers.

    :param or_will: whether one that is starting or stopping counts.
    """
    try:
        psycopg2.connect(url, connect_timeout=5).close()
    except psycopg2.OperationalError as error:
        return or_will and "the database system is" in str(error)
    return True
