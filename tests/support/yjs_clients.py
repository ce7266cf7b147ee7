"""Real Yjs clients in one Node process that plain synchronous tests drive; by themselves on y-websocket providers."""

from __future__ import annotations

import itertools
import json
import queue
import subprocess
import threading
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

Version = Literal["1.5.4", "2.1.0", "3.1.0"]
VERSIONS: tuple[Version, ...] = ("1.5.4", "2.1.0", "3.1.0")
Step = str | int
Json = Any


class YjsClientError(AssertionError):
    """A command failed, or what was waited for did not come in time. The message carries Node's own words."""


def text(content: str) -> Json:
    return {"$": "text", "text": content}


def mapping(**entries: Json) -> Json:
    return {"$": "map", "entries": entries}


def array(*values: Json) -> Json:
    return {"$": "array", "values": list(values)}


def element(name: str, *children: Json, **attributes: str) -> Json:
    return {"$": "element", "name": name, "attributes": attributes, "children": list(children)}


def xml_text(content: str) -> Json:
    return {"$": "xmltext", "text": content}


def subdocument(guid: str, **options: Json) -> Json:
    return {"$": "subdocument", "guid": guid, **options}


def hook(name: str) -> Json:
    return {"$": "hook", "name": name}


def big_integer(number: int) -> Json:
    return {"$": "bigint", "digits": str(number)}


def binary(content: bytes) -> Json:
    return {"$": "bytes", "base64": b64encode(content).decode()}


class YjsClients:
    """The Node process. Clients are made by `connect` and end with it."""

    def __init__(self, node: str | Path, directory: Path, *, timeout: float = 10) -> None:
        self._command = [str(node), str(directory / "clients.mjs")]
        self._directory = directory
        self.timeout = timeout
        self._ids = itertools.count(1)
        self._answers: dict[int, queue.Queue[dict[str, Json]]] = {}
        self._lock = threading.Lock()
        self._stderr: deque[str] = deque(maxlen=200)

    def __enter__(self) -> YjsClients:
        self._process = subprocess.Popen(
            self._command,
            cwd=self._directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            bufsize=1,
        )
        self._readers = [
            threading.Thread(target=self._read_answers, daemon=True),
            threading.Thread(target=self._read_stderr, daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(5)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait(5)
        for reader in self._readers:
            reader.join(5)
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()

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
        """A new client in the room, synced when this returns unless told not to wait, or to stay offline at first."""
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
        """Until the condition holds for all of them at once."""
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
        """Until they all hold the same content, state vector and deletions; the content they agree on."""
        self.wait("converged", *clients, timeout=timeout)
        return clients[0].content

    def wait_awareness(self, *clients: YjsClient, states: Sequence[Json], timeout: float | None = None) -> None:
        """Until each of them sees exactly these awareness states, in whatever order."""
        self.wait("awareness", *clients, states=list(states), timeout=timeout)

    def call(self, command: str, *, patience: float | None = None, **details: Json) -> Json:
        answers: queue.Queue[dict[str, Json]] = queue.Queue(1)
        with self._lock:
            number = next(self._ids)
            self._answers[number] = answers
        line = json.dumps({"id": number, "command": command, **details})
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
            answer = answers.get(timeout=self.timeout + 10 if patience is None else patience)
        except (queue.Empty, OSError) as error:
            raise YjsClientError(
                f"{command}: no answer from Node (exit {self._process.poll()})\n{self.stderr}"
            ) from error
        finally:
            with self._lock:
                del self._answers[number]
        if "error" in answer:
            raise YjsClientError(f"{command}: {answer['error']}\n{self.stderr}")
        return answer["result"]

    @property
    def stderr(self) -> str:
        return "".join(self._stderr)

    def _read_answers(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            with self._lock:
                waiting = self._answers.get(answer["id"])
            if waiting is not None:
                waiting.put(answer)
        with self._lock:
            for waiting in self._answers.values():
                if waiting.empty():
                    waiting.put({"error": "Node has ended"})

    def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._stderr.append(line)


class YjsClient:
    """One named client: a Y.Doc, its provider and its awareness."""

    def __init__(self, clients: YjsClients, name: str, client_id: int) -> None:
        self._clients = clients
        self.name = name
        self.client_id = client_id

    def _call(self, command: str, **details: Json) -> Json:
        return self._clients.call(command, name=self.name, **details)

    def edit(self, *edits: Json) -> None:
        """All of them in one transaction, hence one update."""
        self._call("edit", edits=list(edits))

    def insert_text(self, path: Step | Sequence[Step], index: int, content: str, **attributes: Json) -> None:
        """Indices and lengths count UTF-16 code units, as Yjs does; `attributes` format the inserted text."""
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
        """Into an array, or as children into an XML fragment or element."""
        self.edit({"edit": "insertValues", "path": _path(path), "index": index, "values": list(values)})

    def delete_values(self, path: Step | Sequence[Step], index: int, length: int = 1) -> None:
        self.edit({"edit": "deleteValues", "path": _path(path), "index": index, "length": length})

    def set_attribute(self, path: Step | Sequence[Step], key: str, value: Json) -> None:
        self.edit({"edit": "setAttribute", "path": _path(path), "key": key, "value": value})

    def apply(self, update: bytes) -> None:
        """Take an update as if the provider had brought it."""
        self._call("apply", update=b64encode(update).decode())

    def set_awareness(self, state: Json) -> None:
        self._call("setAwareness", state=state)

    def report(self) -> dict[str, Json]:
        """Everything that can be known of the client at this moment."""
        report: dict[str, Json] = self._call("report")
        return report

    @property
    def content(self) -> Json:
        """The whole document as JSON; see canonical.mjs for how each shared type is written."""
        return self.report()["content"]

    @property
    def snapshot(self) -> str:
        """State vector and delete set as Yjs encodes them, in base64."""
        snapshot: str = self.report()["snapshot"]
        return snapshot

    @property
    def update(self) -> bytes:
        """The whole document as one Yjs update."""
        return b64decode(self.report()["update"])

    @property
    def updates_received(self) -> int:
        """How many updates that changed something came from the server, the first sync included."""
        count: int = self.report()["updatesReceived"]
        return count

    @property
    def awareness(self) -> dict[int, Json]:
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
        """The close code and reason of the count-th connection that ended."""
        self._clients.wait("closed", self, count=count, timeout=timeout)
        close = self.report()["closes"][count - 1]
        return close["code"], close["reason"]

    def wait_refused(self, count: int = 1, timeout: float | None = None) -> int:
        """The HTTP status of the count-th handshake that the server refused."""
        self._clients.wait("refused", self, count=count, timeout=timeout)
        status: int = self.report()["refusals"][count - 1]["status"]
        return status

    def wait_given_up(self, timeout: float | None = None) -> tuple[int, str]:
        """The close code and reason on which a 3.1 provider stopped reconnecting."""
        self._clients.wait("givenUp", self, timeout=timeout)
        close = self.report()["givenUp"]
        return close["code"], close["reason"]

    def connect(self) -> None:
        """Once more after `disconnect`, or at last after a start offline; returns when synced."""
        self._call("connect")
        self.wait_synced()

    def disconnect(self) -> None:
        self._call("disconnect")

    def drop(self) -> None:
        """Lose the connection without a farewell, as a failing network does; the provider will reconnect."""
        self._call("drop")

    def destroy(self) -> None:
        self._call("destroy")


def _path(path: Step | Sequence[Step]) -> list[Step]:
    return [path] if isinstance(path, (str, int)) else list(path)
