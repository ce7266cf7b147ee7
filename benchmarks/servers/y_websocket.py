"""`@y/websocket-server`; its store is a LevelDB."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping

from benchmarks.servers.base import Testbed
from benchmarks.servers.large_document import LargeDocument
from benchmarks.servers.node import NODE_DIRECTORY, node
from benchmarks.servers.peer import Peer


class YWebsocketServer(Peer):
    """`@y/websocket-server`."""

    name = "y-websocket-server"
    package = "@y/websocket-server"

    def command(self, testbed: Testbed, port: int) -> list[str]:
        """The command that starts the server; it takes the port from its environment."""
        return [node(), "node_modules/@y/websocket-server/src/server.js"]

    def store(self, testbed: Testbed, document: LargeDocument) -> Mapping[str, str]:
        """Put a document into a new LevelDB; see :meth:`Peer.store`."""
        directory = testbed.directory / "level"
        shutil.rmtree(directory, ignore_errors=True)
        subprocess.run([node(), "level.mjs", directory, "diagram-0", document.file], cwd=NODE_DIRECTORY, check=True)
        return {"YPERSISTENCE": str(directory)}
