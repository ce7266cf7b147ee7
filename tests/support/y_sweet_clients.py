"""Real clients of y-sweet, in the Node process of the others."""

from __future__ import annotations

from typing import Any

from tests.support.databases import User
from tests.support.diagrams import Diagram
from tests.support.yjs_clients import YjsClient, YjsClients


class YSweetClient(YjsClient):
    """One client of y-sweet's."""

    @property
    def state(self) -> dict[str, Any]:
        """What is known of it besides the document: `hasLocalChanges`, `acknowledged`, `localChanges`, `statuses`."""
        return self.report()

    def wait_state(self, timeout: float | None = None, **state: Any) -> None:
        """Until all of that holds at once."""
        self._clients.wait("state", self, state=state, timeout=timeout)

    def wait_saved(self, timeout: float | None = None) -> None:
        """Until it shows that it has no changes that are not saved."""
        self.wait_state(timeout, hasLocalChanges=False)


def join(
    diagram: Diagram, clients: YjsClients, name: str, user: User | None = None, *, offline: bool = False
) -> YSweetClient:
    """A client of the user, the editor if none is given; synced when this returns, unless it stays offline."""
    token = (user or diagram.editor).token
    client_id: int = clients.call(
        "createYSweet", name=name, url=diagram.daemon.ws_url, room=diagram.room, token=token, connect=not offline
    )
    client = YSweetClient(clients, name, client_id)
    if not offline:
        client.wait_synced()
    return client
