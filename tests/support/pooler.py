"""PgBouncer in front of a PostgreSQL server of the tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

from tests.support.daemons import free_port

PATIENCE = 10.0


def find_pgbouncer() -> str | None:
    """Return the path of the program, or None if it is not installed."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


class PgBouncer:
    """A pooler, listening when the constructor returns; to be used in a with statement."""

    def __init__(self, executable: str, database_url: str, mode: str) -> None:
        """:param database_url: the URL of a database behind a unix socket, ``...?host=DIRECTORY``.
        :param mode: ``transaction`` or ``session``.
        """
        parts = urlsplit(database_url)
        sockets = Path(parse_qs(parts.query)["host"][0])
        port = free_port()
        self.url = f"postgresql://{parts.username}@127.0.0.1:{port}{parts.path}"
        self._directory = Path(tempfile.mkdtemp(prefix="pgbouncer"))
        configuration = self._directory / "pgbouncer.ini"
        configuration.write_text(
            "[databases]\n"
            f"* = host={sockets} port=5432 user={parts.username}\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = any\npool_mode = {mode}\n"
        )
        self._directory.chmod(0o755)
        # PgBouncer refuses to run as root, and only the server's user may access the socket.
        user = ["-u", sockets.owner()] if os.geteuid() == 0 else []
        self._process = subprocess.Popen(
            [executable, *user, str(configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + PATIENCE
        while not self._listens(port):
            assert self._process.poll() is None, "PgBouncer ended"
            assert time.monotonic() < deadline, "PgBouncer does not listen"
            threading.Event().wait(0.02)

    def __enter__(self) -> PgBouncer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait(PATIENCE)
        shutil.rmtree(self._directory)

    @staticmethod
    def _listens(port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0
