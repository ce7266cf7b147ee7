"""`@hocuspocus/server`, in two major versions; its store is a table in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.servers.base import Testbed
from benchmarks.servers.large_document import LargeDocument
from benchmarks.servers.node import node
from benchmarks.servers.peer import Peer


class _Hocuspocus(Peer):
    hocuspocus = True
    #: The major version.
    major: str

    def command(self, testbed: Testbed, port: int) -> list[str]:
        """The command that starts the server; it takes the port from its environment."""
        return [node(), "hocuspocus.mjs", self.major]

    def store(self, testbed: Testbed, document: LargeDocument) -> Mapping[str, str]:
        """Put a document into the table; see :meth:`Peer.store`."""
        database = testbed.database
        database.query("CREATE TABLE IF NOT EXISTS hocuspocus_document (name TEXT PRIMARY KEY, data BYTEA NOT NULL)")
        database.query("ALTER TABLE hocuspocus_document ALTER COLUMN data SET STORAGE EXTERNAL")
        database.query("TRUNCATE hocuspocus_document")
        database.query("INSERT INTO hocuspocus_document VALUES ('diagram-0', %s)", (document.data,))
        return {"DATABASE_URL": database.url}


class Hocuspocus4(_Hocuspocus):
    """Version 4."""

    name = "hocuspocus-4"
    major = "4"
    package = "hocuspocus-server-4"


class Hocuspocus2(_Hocuspocus):
    """Version 2."""

    name = "hocuspocus-2"
    major = "2"
    package = "hocuspocus-server-2"
