"""`pycrdt-websocket` on uvicorn; it runs without a store."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks.servers.base import Testbed
from benchmarks.servers.peer import Peer
from tests.support.daemons import ROOT


class PycrdtWebsocket(Peer):
    """`pycrdt-websocket`."""

    name = "pycrdt-websocket"
    has_store = False

    @property
    def version(self) -> str:
        """The version of the installed Python package."""
        return version("pycrdt-websocket")

    @property
    def working_directory(self) -> Path:
        """The directory that the command runs in."""
        return ROOT

    def command(self, testbed: Testbed, port: int) -> list[str]:
        """The command that starts the server."""
        return [sys.executable, "-m", "benchmarks.pycrdt_server", str(port)]
