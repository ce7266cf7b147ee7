"""Servers of other projects, each run as a child process."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.endpoint import Endpoint
from benchmarks.servers.base import RunningServer, Server, Testbed
from benchmarks.servers.large_document import LargeDocument
from benchmarks.servers.node import NODE_DIRECTORY
from tests.support.daemons import free_port

#: How long a server may take to start, in seconds.
START_TIMEOUT = 30.0

#: How long a server may take to stop before it is killed, in seconds.
STOP_TIMEOUT = 3.0


class Peer(Server):
    """A server of another project.  Unless a subclass says otherwise, it is an npm package that Node runs."""

    #: Its name as an npm package.
    package: str

    @contextmanager
    def start(
        self, testbed: Testbed, rooms: int, members: int, stored: LargeDocument | None = None
    ) -> Iterator[RunningServer]:
        """Start the server; see :meth:`Server.start`."""
        self.prepare(testbed)
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        port = free_port()
        environment.update(PORT=str(port), HOST="127.0.0.1", NODE_ENV="production")
        if stored is not None:
            environment.update(self.store(testbed, stored))
        log = testbed.directory / f"{self.name}.log"
        started = time.perf_counter()
        with log.open("ab") as output, testbed.cores.on_server_core():
            process = subprocess.Popen(
                self.command(testbed, port),
                cwd=self.working_directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            _wait_until_listening(process, port, log)
            ready_after = time.perf_counter() - started
            names = [f"diagram-{room}" for room in range(rooms)]
            endpoint = Endpoint("127.0.0.1", port, names, ["a-token"], self.hocuspocus)
            yield RunningServer(endpoint, process.pid, ready_after)
        finally:
            _stop(process)

    @property
    def version(self) -> str:
        """The version of the installed npm package."""
        manifest = json.loads((NODE_DIRECTORY / "node_modules" / self.package / "package.json").read_text())
        return str(manifest["version"])

    @property
    def working_directory(self) -> Path:
        """The directory that the command runs in."""
        return NODE_DIRECTORY

    def prepare(self, testbed: Testbed) -> None:
        """Make what the server needs before it can be started; does nothing unless a subclass says otherwise."""

    @abstractmethod
    def command(self, testbed: Testbed, port: int) -> list[str]:
        """The command that starts the server on a port of 127.0.0.1."""

    def store(self, testbed: Testbed, document: LargeDocument) -> Mapping[str, str]:
        """Put a document into the server's store, as that of the first room.

        :return: the environment variables with which the server uses that store.
        """
        raise NotImplementedError


def _wait_until_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.01)
    raise RuntimeError(f"the server did not start:\n{log.read_text(errors='replace')[-2000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
