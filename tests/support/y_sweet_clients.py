"""Clients of y-sweet, in the Node process of the other Yjs clients."""

from __future__ import annotations

from typing import Any

from tests.support.databases import User
from tests.support.diagrams import Diagram
from tests.support.yjs_clients import YjsClient, YjsClients


class YSweetClient(YjsClient):
    """A client of y-sweet."""

    @property
    def state(self) -> dict[str, Any]:
        """Its state besides the document: `hasLocalChanges`, `acknowledged`, `localChanges`, `statuses`."""
        return self.report()

    def wait_state(self, timeout: float | None = None, **state: Any) -> None:
        """Wait until its state has all these values at once."""
        self._clients.wait("state", self, state=state, timeout=timeout)

    def wait_saved(self, timeout: float | None = None) -> None:
        """Wait until it has no unsaved changes."""
        self.wait_state(timeout, hasLocalChanges=False)


def join(
    diagram: Diagram, clients: YjsClients, name: str, user: User | None = None, *, offline: bool = False
) -> YSweetClient:
    """Connect a client, and wait until it is synced.

    :param user: whose client; the editor's by default.
    :param offline: whether it does not connect yet; then it is not waited for.
    """
    token = (user or diagram.editor).token
    client_id: int = clients.call(
        "createYSweet", name=name, url=diagram.daemon.ws_url, room=diagram.room, token=token, connect=not offline
    )
    client = YSweetClient(clients, name, client_id)
    if not offline:
        client.wait_synced()
    return client
