"""An nginx process: the main configuration that every test needs, starting, waiting until it listens, stopping."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

#: How long nginx may take to start or to stop, in seconds.
PATIENCE = 10.0

_CONFIGURATION = """
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/log/error.log info;
worker_processes 1;
{user}
events {{ worker_connections 1024; }}
http {{
    access_log {directory}/log/access.log;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {servers}
}}
"""


def find_nginx() -> str | None:
    """The path of the program, if it is installed."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


class NginxProcess:
    """nginx with all its files in one directory; it runs while a with statement lasts."""

    def __init__(self, executable: str, directory: Path, port: int, servers: str) -> None:
        """:param port: of 127.0.0.1, on which one of the servers listens.
        :param servers: what the configuration has within `http`.
        """
        self.port = port
        self._executable = executable
        self._directory = directory
        self._logs = directory / "log"
        self._logs.mkdir(exist_ok=True)
        user = "user root;" if os.geteuid() == 0 else ""
        (directory / "nginx.conf").write_text(
            _CONFIGURATION.format(directory=directory, user=user, servers=servers), encoding="utf-8"
        )

    def __enter__(self) -> Self:
        errors = self._logs / "stderr.log"
        with errors.open("w") as file:
            self._process = subprocess.Popen(
                [self._executable, "-p", str(self._directory), "-c", str(self._directory / "nginx.conf")],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=file,
            )
        deadline = time.monotonic() + PATIENCE
        while not self._listens():
            assert self._process.poll() is None, errors.read_text()
            assert time.monotonic() < deadline, "nginx does not listen"
            threading.Event().wait(0.02)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)

    @property
    def logs(self) -> str:
        """Everything that nginx has logged, in whichever file."""
        return "".join(path.read_text(encoding="utf-8") for path in self._logs.iterdir())

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
