"""What all servers have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path

from attrs import define, frozen

from benchmarks.endpoint import Endpoint
from benchmarks.processes import (
    Cores,
    cpu_seconds,
    cpu_wait_seconds,
    memory,
    peak_memory,
    reset_peak_memory,
    resident_memory,
)
from benchmarks.servers.large_document import LargeDocument
from tests.support.databases import TestDatabase


@frozen
class Testbed:
    """What servers run on.

    :ivar database_pid: the process id of the database's PostgreSQL.
    :ivar directory: for files that are deleted at the end.
    """

    cores: Cores
    database: TestDatabase
    database_pid: int
    directory: Path


@define
class RunningServer:
    """A server that runs.

    :ivar endpoint: where clients connect.
    :ivar ready_after: how long it took to start, in seconds.
    :ivar database_pid: the process id of its PostgreSQL, if it uses one.
    :ivar health_url: the URL of its health port, without a path, if it has one.
    """

    endpoint: Endpoint
    pid: int
    ready_after: float
    database_pid: int | None = None
    health_url: str | None = None

    @property
    def cpu(self) -> float:
        """The processor time of the server so far, in seconds."""
        return cpu_seconds(self.pid)

    @property
    def database_cpu(self) -> float:
        """The processor time of its PostgreSQL so far, in seconds."""
        return cpu_seconds(self.database_pid) if self.database_pid else 0.0

    @property
    def cpu_wait(self) -> float:
        """How long the server was ready to run and waited for its core, in seconds."""
        return cpu_wait_seconds(self.pid)

    @property
    def memory(self) -> int:
        """The memory of the server (PSS), in bytes."""
        return memory(self.pid)

    @property
    def resident_memory(self) -> int:
        """The memory of the server (RSS), in bytes; more than what it takes, as libraries count wholly."""
        return resident_memory(self.pid)

    @property
    def peak_memory(self) -> int:
        """The highest memory (RSS) since the start or the last :meth:`reset_peak_memory`, in bytes."""
        return peak_memory(self.pid)

    def reset_peak_memory(self) -> None:
        """Start a new measurement of the peak."""
        reset_peak_memory(self.pid)


class Server(ABC):
    """A kind of server."""

    #: Its name on the command line and in results.
    name: str
    #: Whether clients speak Hocuspocus's protocol to it instead of y-websocket's.
    hocuspocus = False
    #: Whether it can load a document from a store.
    has_store = True
    #: Whether it keeps documents, and sends them to clients that connect later.
    has_documents = True
    #: Whether it becomes faster while it runs, and is only measured after a while.
    needs_warm_up = True

    @property
    @abstractmethod
    def version(self) -> str:
        """The version of the server."""

    @abstractmethod
    def start(
        self, testbed: Testbed, rooms: int, members: int, stored: LargeDocument | None = None
    ) -> AbstractContextManager[RunningServer]:
        """Start the server; the context manager stops it.

        :param rooms: the number of rooms.
        :param members: the number of users with access to each room.
        :param stored: a document to put into the store as the first room's.  Without one, servers other than
            canvas-collab run without a store.
        """
