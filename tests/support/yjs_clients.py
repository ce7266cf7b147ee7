"""Yjs clients with y-websocket providers, in one Node process that synchronous tests control.

The Node process is ``tests/node/clients.mjs``: it reads a JSON command a line, and writes a JSON answer a line.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from tests.support.command_process import CommandProcess
from tests.support.yjs_values import Json

Version = Literal["1.5.4", "2.1.0", "3.1.0"]
VERSIONS: tuple[Version, ...] = ("1.5.4", "2.1.0", "3.1.0")

#: A step of a path to a shared type: its name on the document, a key of a map, or an index in an array or in XML.
Step = str | int


class YjsClients(CommandProcess):
    """The Node process; its clients, made by :meth:`connect`, end with it."""

    def __init__(self, node: str | Path, directory: Path, *, timeout: float = 10) -> None:
        """:param directory: where the program and its npm packages are."""
        super().__init__([str(node), str(directory / "clients.mjs")], directory, timeout=timeout)

    def __enter__(self) -> YjsClients:
        super().__enter__()
        return self

    def connect(
        self,
        name: str,
        url: str,
        room: str,
        *,
        version: Version = "3.1.0",
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        protocols: Sequence[str] = (),
        gc: bool = True,
        wait: bool = True,
        offline: bool = False,
    ) -> YjsClient:
        """Make a client of a room, and wait until it is synced.

        :param wait: whether to wait.
        :param offline: whether the client is not connected yet; then it is not waited for.
        """
        client_id: int = self.call(
            "create",
            name=name,
            url=url,
            room=room,
            version=version[0],
            headers=dict(headers or {}),
            params=dict(params or {}),
            protocols=list(protocols),
            gc=gc,
            connect=not offline,
        )
        client = YjsClient(self, name, client_id)
        if wait and not offline:
            client.wait_synced()
        return client

    def wait(self, condition: str, *clients: YjsClient, timeout: float | None = None, **details: Json) -> None:
        """Wait until a condition holds for all of these clients at once.

        :param condition: its name in ``tests/node/conditions.mjs``; `details` are its arguments.
        """
        seconds = self.timeout if timeout is None else timeout
        self.call(
            "wait",
            names=[client.name for client in clients],
            condition=condition,
            seconds=seconds,
            patience=seconds + 10,
            **details,
        )

    def wait_converged(self, *clients: YjsClient, timeout: float | None = None) -> Json:
        """Wait until the clients have the same content, state vector and delete set; return the content."""
        self.wait("converged", *clients, timeout=timeout)
        return clients[0].content

    def wait_awareness(self, *clients: YjsClient, states: Sequence[Json], timeout: float | None = None) -> None:
        """Wait until each client has exactly these awareness states, in any order."""
        self.wait("awareness", *clients, states=list(states), timeout=timeout)


class YjsClient:
    """A named client: a ``Y.Doc``, its provider and its awareness."""

    def __init__(self, clients: YjsClients, name: str, client_id: int) -> None:
        self._clients = clients
        self.name = name
        self.client_id = client_id

    def _call(self, command: str, **details: Json) -> Json:
        return self._clients.call(command, name=self.name, **details)

    def edit(self, *edits: Json) -> None:
        """Make edits in one transaction, which makes one update."""
        self._call("edit", edits=list(edits))

    def insert_text(self, path: Step | Sequence[Step], index: int, content: str, **attributes: Json) -> None:
        """Insert into a text. Indices and lengths count UTF-16 code units, as in Yjs.

        :param attributes: the formatting of the inserted text.
        """
        details = {"attributes": attributes} if attributes else {}
        self.edit({"edit": "insertText", "path": _path(path), "index": index, "text": content, **details})

    def insert_embed(self, path: Step | Sequence[Step], index: int, embed: Json) -> None:
        self.edit({"edit": "insertEmbed", "path": _path(path), "index": index, "embed": embed})

    def delete_text(self, path: Step | Sequence[Step], index: int, length: int) -> None:
        self.edit({"edit": "deleteText", "path": _path(path), "index": index, "length": length})

    def format_text(self, path: Step | Sequence[Step], index: int, length: int, **attributes: Json) -> None:
        self.edit(
            {"edit": "formatText", "path": _path(path), "index": index, "length": length, "attributes": attributes}
        )

    def set_key(self, path: Step | Sequence[Step], key: str, value: Json) -> None:
        self.edit({"edit": "setKey", "path": _path(path), "key": key, "value": value})

    def delete_key(self, path: Step | Sequence[Step], key: str) -> None:
        self.edit({"edit": "deleteKey", "path": _path(path), "key": key})

    def insert_values(self, path: Step | Sequence[Step], index: int, *values: Json) -> None:
        """Insert into an array, or children into an XML fragment or element."""
        self.edit({"edit": "insertValues", "path": _path(path), "index": index, "values": list(values)})

    def delete_values(self, path: Step | Sequence[Step], index: int, length: int = 1) -> None:
        self.edit({"edit": "deleteValues", "path": _path(path), "index": index, "length": length})

    def set_attribute(self, path: Step | Sequence[Step], key: str, value: Json) -> None:
        self.edit({"edit": "setAttribute", "path": _path(path), "key": key, "value": value})

    def apply(self, update: bytes) -> None:
        """Apply an update as if the provider had received it."""
        self._call("apply", update=b64encode(update).decode())

    def set_awareness(self, state: Json) -> None:
        self._call("setAwareness", state=state)

    def report(self) -> dict[str, Json]:
        """Return the state of the client: document, awareness, and what happened to its connections."""
        report: dict[str, Json] = self._call("report")
        return report

    @property
    def content(self) -> Json:
        """The content of the document as JSON, as ``tests/node/canonical.mjs`` writes it."""
        return self.report()["content"]

    @property
    def snapshot(self) -> str:
        """The state vector and delete set, as Yjs encodes them, in base64."""
        snapshot: str = self.report()["snapshot"]
        return snapshot

    @property
    def update(self) -> bytes:
        """The whole document as one Yjs update."""
        return b64decode(self.report()["update"])

    @property
    def updates_received(self) -> int:
        """How many updates from the server changed the document, including the initial sync."""
        count: int = self.report()["updatesReceived"]
        return count

    @property
    def awareness(self) -> dict[int, Json]:
        """The awareness states by client id."""
        return {entry["id"]: entry["state"] for entry in self.report()["awareness"]}

    def wait_synced(self, timeout: float | None = None) -> None:
        self._clients.wait("synced", self, timeout=timeout)

    def wait_disconnected(self, timeout: float | None = None) -> None:
        self._clients.wait("disconnected", self, timeout=timeout)

    def wait_content(self, content: Json, timeout: float | None = None) -> None:
        self._clients.wait("content", self, content=content, timeout=timeout)

    def wait_awareness(self, *states: Json, timeout: float | None = None) -> None:
        self._clients.wait_awareness(self, states=states, timeout=timeout)

    def wait_closed(self, count: int = 1, timeout: float | None = None) -> tuple[int, str]:
        """Wait until `count` connections were closed; return the code and reason of the last."""
        self._clients.wait("closed", self, count=count, timeout=timeout)
        close = self.report()["closes"][count - 1]
        return close["code"], close["reason"]

    def wait_refused(self, count: int = 1, timeout: float | None = None) -> int:
        """Wait until the server refused `count` handshakes; return the HTTP status of the last."""
        self._clients.wait("refused", self, count=count, timeout=timeout)
        status: int = self.report()["refusals"][count - 1]["status"]
        return status

    def wait_given_up(self, timeout: float | None = None) -> tuple[int, str]:
        """Wait until a provider of version 3.1 stops reconnecting; return the close code and reason that made it."""
        self._clients.wait("givenUp", self, timeout=timeout)
        close = self.report()["givenUp"]
        return close["code"], close["reason"]

    def connect(self) -> None:
        """Connect after :meth:`disconnect`, or after a start offline, and wait until synced."""
        self._call("connect")
        self.wait_synced()

    def disconnect(self) -> None:
        """Close the connection, and stay disconnected."""
        self._call("disconnect")

    def drop(self) -> None:
        """End the connection without a close frame, as a failing network does; the provider reconnects."""
        self._call("drop")

    def destroy(self) -> None:
        """Destroy the provider and the document."""
        self._call("destroy")


def _path(path: Step | Sequence[Step]) -> list[Step]:
    """Return a path of several steps for one step."""
    return [path] if isinstance(path, (str, int)) else list(path)
