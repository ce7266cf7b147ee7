"""nginx with the locations that a test gives, as an operator might get them wrong."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType

from tests.support.daemons import free_port

#: How long nginx may take to start, in seconds.
PATIENCE = 10.0

_CONFIGURATION = """
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
worker_processes 1;
{user}
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port};
        {locations}
        location / {{ return 404; }}
    }}
}}
"""

#: What passes an upgrade on.
UPGRADE = 'proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";'


class StagedNginx:
    """nginx on a free port, without TLS; to be used in a with statement."""

    def __init__(self, executable: str, directory: Path, locations: str) -> None:
        self.port = free_port()
        user = "user root;" if os.geteuid() == 0 else ""
        configuration = directory / "nginx.conf"
        configuration.write_text(
            _CONFIGURATION.format(directory=directory, user=user, port=self.port, locations=locations)
        )
        self._errors = directory / "stderr.log"
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [executable, "-p", str(directory), "-c", str(configuration)], stdin=subprocess.DEVNULL, stderr=errors
            )

    def __enter__(self) -> StagedNginx:
        deadline = time.monotonic() + PATIENCE
        while not self._listens():
            assert self._process.poll() is None, self._errors.read_text()
            assert time.monotonic() < deadline, "nginx does not listen"
            threading.Event().wait(0.02)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)

    @property
    def url(self) -> str:
        """The URL that clients connect to."""
        return f"ws://127.0.0.1:{self.port}/collab"

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
