"""Clients of the next y-websocket, with Yjs 14, in the Node process of the other Yjs clients."""

from __future__ import annotations

from typing import Any

from tests.support.databases import User
from tests.support.diagrams import Diagram, headers_of
from tests.support.yjs_clients import YjsClient, YjsClients


class NextClient(YjsClient):
    """A client with Yjs 14, whose reports have less than those of Yjs 13."""

    @property
    def state(self) -> dict[str, Any]:
        """Its state: its `text`, how many of its edits are `unconfirmed`, what it has received."""
        return self.report()

    def wait_state(self, timeout: float | None = None, **state: Any) -> None:
        """Wait until its state has all these values at once."""
        self._clients.wait("state", self, state=state, timeout=timeout)

    def type(self, index: int, text: str) -> None:
        """Insert into the shared text."""
        self._call("type", index=index, text=text)

    def erase(self, index: int, length: int) -> None:
        """Delete from the shared text."""
        self._call("erase", index=index, length=length)


def join(
    diagram: Diagram, clients: YjsClients, name: str, user: User | None = None, *, offline: bool = False
) -> NextClient:
    """Connect a client, and wait until it is synced.

    :param user: whose client; the editor's by default.
    :param offline: whether it does not connect yet; then it is not waited for.
    """
    headers = headers_of(user or diagram.editor)
    url, room = diagram.daemon.ws_url, diagram.room
    client_id = clients.call("createNext", name=name, url=url, room=room, headers=headers, connect=not offline)
    client = NextClient(clients, name, client_id)
    if not offline:
        client.wait_synced()
    return client
