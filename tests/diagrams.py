"""A diagram that a daemon serves, and the people who draw in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.harness.daemons import Daemon
from tests.harness.databases import TestDatabase, User
from tests.python_clients import RawConnection
from tests.yjs_clients import Version, YjsClient, YjsClients


class Diagram:
    """One diagram with an owner, an editor, and a viewer, served by a daemon of its own."""

    room = "diagram-sketch"

    def __init__(self, database: TestDatabase, start_daemon: Callable[..., Daemon], **settings: object) -> None:
        self.database = database
        self.owner = database.add_user("owner")
        self.editor = database.add_user("editor")
        self.viewer = database.add_user("viewer")
        database.add_diagram("sketch", self.owner, editor=self.editor, viewer=self.viewer)
        self._start_daemon = start_daemon
        self._settings = settings
        self.daemon = self.start()

    def start(self, **settings: object) -> Daemon:
        """Start a daemon once more, after the last one has stopped."""
        self.daemon = self._start_daemon(self.database, **{**self._settings, **settings})
        return self.daemon

    @property
    def url(self) -> str:
        return f"{self.daemon.ws_url}/{self.room}"

    def join(
        self,
        clients: YjsClients,
        name: str,
        user: User | None = None,
        *,
        version: Version = "3.1.0",
        **options: Any,
    ) -> YjsClient:
        """A Yjs client of the user, the editor if none is given."""
        headers = headers_of(user or self.editor)
        return clients.connect(name, self.daemon.ws_url, self.room, version=version, headers=headers, **options)

    def connect(self, user: User | None = None) -> RawConnection:
        """A connection of the user that speaks bytes, to be used in a with statement."""
        return RawConnection(self.url, headers=headers_of(user or self.editor))

    def log(self) -> list[tuple[str, bytes]]:
        """The user and the bytes of every update in the log, in order."""
        rows = self.database.query(
            "SELECT user_id, update FROM yjs_update_log WHERE document_id = %s ORDER BY id", (self.room,)
        )
        return [(user_id, bytes(update)) for user_id, update in rows]


def headers_of(user: User) -> dict[str, str]:
    """What a browser of that user sends along."""
    return {"Cookie": user.cookie}
