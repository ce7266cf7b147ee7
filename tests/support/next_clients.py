"""Real clients of the next y-websocket and Yjs 14, in the Node process of the others."""

from __future__ import annotations

from typing import Any

from tests.support.databases import User
from tests.support.diagrams import Diagram, headers_of
from tests.support.yjs_clients import YjsClient, YjsClients


class NextClient(YjsClient):
    """One of these.  Its document is another engine's, so what is known of it is less."""

    @property
    def state(self) -> dict[str, Any]:
        """What is known of it: its `text`, how many of its edits are `unconfirmed`, what it has received."""
        return self.report()

    def wait_state(self, timeout: float | None = None, **state: Any) -> None:
        """Until all of that holds at once."""
        self._clients.wait("state", self, state=state, timeout=timeout)

    def type(self, index: int, text: str) -> None:
        """Insert into the document's text."""
        self._call("type", index=index, text=text)

    def erase(self, index: int, length: int) -> None:
        """Delete from the document's text."""
        self._call("erase", index=index, length=length)


def join(
    diagram: Diagram, clients: YjsClients, name: str, user: User | None = None, *, offline: bool = False
) -> NextClient:
    """A client of the user, the editor if none is given; synced when this returns, unless it stays offline."""
    headers = headers_of(user or diagram.editor)
    url, room = diagram.daemon.ws_url, diagram.room
    client_id = clients.call("createNext", name=name, url=url, room=room, headers=headers, connect=not offline)
    client = NextClient(clients, name, client_id)
    if not offline:
        client.wait_synced()
    return client
