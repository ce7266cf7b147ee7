"""A diagram that a daemon serves, and clients for its users."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.daemons import Daemon
from tests.support.databases import TestDatabase, User
from tests.support.hocuspocus_providers import Provider, Providers, ProviderSocket, ProviderVersion
from tests.support.sync_clients import RawConnection
from tests.support.yjs_clients import Version, YjsClient, YjsClients


class Diagram:
    """A diagram with an owner, an editor and a viewer, and the daemon that serves it."""

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
        """Start the daemon, again after it was stopped."""
        self.daemon = self._start_daemon(self.database, **{**self._settings, **settings})
        return self.daemon

    @property
    def url(self) -> str:
        """The URL of the room."""
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
        """Connect a y-websocket client.

        :param user: whose client; the editor's by default.
        :param options: for :meth:`YjsClients.connect`.
        """
        headers = headers_of(user or self.editor)
        return clients.connect(name, self.daemon.ws_url, self.room, version=version, headers=headers, **options)

    def provide(
        self,
        providers: Providers,
        name: str,
        user: User | None = None,
        *,
        at: ProviderSocket | None = None,
        room: str | None = None,
        **options: Any,
    ) -> Provider:
        """Connect a Hocuspocus provider.

        :param user: whose token it has; the editor's by default.
        :param at: the socket that it shares; one of its own by default.
        :param options: for :meth:`Providers.provider`.
        """
        options.setdefault("token", (user or self.editor).token)
        return providers.provider(name, room or self.room, at or self.daemon.ws_url, **options)

    def socket(self, providers: Providers, name: str, version: ProviderVersion, **options: Any) -> ProviderSocket:
        """Make a socket that several providers can share."""
        return providers.socket(name, self.daemon.ws_url, version=version, **options)

    def add_room(self, diagram_id: str) -> str:
        """Add another diagram with the same users; return the name of its room."""
        self.database.add_diagram(diagram_id, self.owner, editor=self.editor, viewer=self.viewer)
        return f"diagram-{diagram_id}"

    def connect(self, user: User | None = None) -> RawConnection:
        """Return a connection for raw messages, to be used in a with statement."""
        return RawConnection(self.url, headers=headers_of(user or self.editor))

    def log(self, room: str | None = None) -> list[tuple[str, bytes]]:
        """Return the user id and the update of every log entry, in order."""
        rows = self.database.query(
            "SELECT user_id, update FROM yjs_update_log WHERE document_id = %s ORDER BY id", (room or self.room,)
        )
        return [(user_id, bytes(update)) for user_id, update in rows]


def headers_of(user: User) -> dict[str, str]:
    """Return the headers with the cookie of a user."""
    return {"Cookie": user.cookie}
