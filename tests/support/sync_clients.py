"""Synchronous clients of y-websocket's protocol, without the package's own code: raw messages, and pycrdt."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

import pytest
from pycrdt import (
    Array,
    Decoder,
    Doc,
    Map,
    Text,
    TransactionEvent,
    XmlFragment,
    create_sync_message,
    create_update_message,
    handle_sync_message,
    merge_updates,
)
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

SYNC, AWARENESS, QUERY_AWARENESS = 0, 1, 3
STEP_1, STEP_2, UPDATE = 0, 1, 2
EMPTY_STATE_VECTOR = b"\0"
EMPTY_UPDATE = b"\0\0"

AwarenessEntry = tuple[int, int, Any]


def var_uint(number: int) -> bytes:
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def var_bytes(content: bytes) -> bytes:
    return var_uint(len(content)) + content


def sync_message(kind: int, content: bytes) -> bytes:
    return bytes((SYNC, kind)) + var_bytes(content)


def awareness_message(entries: Iterable[AwarenessEntry]) -> bytes:
    """Encode an awareness message of (client id, clock, state) triples; the state None removes a client."""
    encoded = [
        var_uint(client_id) + var_uint(clock) + var_bytes(json.dumps(state).encode())
        for client_id, clock, state in entries
    ]
    return bytes((AWARENESS,)) + var_bytes(var_uint(len(encoded)) + b"".join(encoded))


def read_awareness(message: bytes) -> list[AwarenessEntry]:
    """Return the (client id, clock, state) triples of an awareness message."""
    content = Decoder(message[1:]).read_message()
    assert content is not None
    decoder = Decoder(content)
    entries = []
    for _ in range(decoder.read_var_uint()):
        client_id, clock = decoder.read_var_uint(), decoder.read_var_uint()
        state = decoder.read_message()
        assert state is not None
        entries.append((client_id, clock, json.loads(state)))
    return entries


def read_sync(message: bytes) -> tuple[int, bytes]:
    """Return the kind of a sync message and its content."""
    content = Decoder(message[2:]).read_message()
    assert content is not None
    return message[1], content


def updates_in(messages: Iterable[bytes]) -> list[bytes]:
    """Return the updates in messages, including those of sync steps 2."""
    contents = [read_sync(message) for message in messages if message[0] == SYNC]
    return [content for kind, content in contents if kind != STEP_1]


class RawConnection(AbstractContextManager["RawConnection"]):
    """A WebSocket that sends and receives messages as bytes and answers none, to be used in a with statement."""

    def __init__(self, url: str, *, headers: Mapping[str, str] | None = None, timeout: float = 10) -> None:
        self.timeout = timeout
        self._opening = connect(
            url,
            additional_headers=dict(headers or {}),
            compression=None,
            max_size=None,
            ping_interval=None,
            proxy=None,
            open_timeout=timeout,
            close_timeout=timeout,
        )

    def __enter__(self) -> RawConnection:
        self._socket: ClientConnection = self._opening.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opening.__exit__(kind, error, trace)

    def close(self) -> None:
        self._socket.close()

    def send(self, message: bytes) -> None:
        self._socket.send(message)

    def receive(self, timeout: float | None = None) -> bytes:
        message = self._socket.recv(self.timeout if timeout is None else timeout)
        assert isinstance(message, bytes)
        return message

    def send_step_1(self, state_vector: bytes = EMPTY_STATE_VECTOR) -> None:
        self.send(sync_message(STEP_1, state_vector))

    def send_step_2(self, update: bytes) -> None:
        self.send(sync_message(STEP_2, update))

    def send_update(self, update: bytes) -> None:
        self.send(sync_message(UPDATE, update))

    def send_awareness(self, *entries: AwarenessEntry) -> None:
        self.send(awareness_message(entries))

    def query_awareness(self) -> None:
        self.send(bytes((QUERY_AWARENESS,)))

    def receive_until(self, wanted: Callable[[bytes], bool]) -> list[bytes]:
        """Receive messages up to the first that is wanted, and return them all."""
        deadline = time.monotonic() + self.timeout
        messages = []
        while True:
            messages.append(self.receive(max(0.0, deadline - time.monotonic())))
            if wanted(messages[-1]):
                return messages

    def sync(self, state_vector: bytes = EMPTY_STATE_VECTOR) -> bytes:
        """Send a sync step 1, and return all updates up to the answer, merged.

        Messages are handled in order, so everything that was sent before has been handled when this returns.
        """
        self.send_step_1(state_vector)
        messages = self.receive_until(lambda message: message[:2] == bytes((SYNC, STEP_2)))
        return merge_updates(*updates_in(messages))

    def receive_awareness(self, client_id: int) -> AwarenessEntry:
        """Return the next awareness entry of a client."""
        while True:
            message = self.receive_until(lambda message: message[0] == AWARENESS)[-1]
            for entry in read_awareness(message):
                if entry[0] == client_id:
                    return entry

    def wait_closed(self) -> tuple[int, str]:
        """Receive messages until the connection is closed; return the code and reason."""
        with pytest.raises(ConnectionClosed) as ending:
            self.receive_until(lambda _message: False)
        close = ending.value.rcvd
        assert close is not None, "the connection was closed without a close frame"
        return close.code, close.reason


class PycrdtClient(AbstractContextManager["PycrdtClient"]):
    """A pycrdt document that is synced with a room, to be used in a with statement.

    Changes to its shared types are sent; :meth:`wait_until` receives.
    """

    def __init__(self, url: str, *, headers: Mapping[str, str] | None = None, timeout: float = 10) -> None:
        self.connection = RawConnection(url, headers=headers, timeout=timeout)
        self.doc = Doc[Any]()
        self.text = self.doc.get("text", type=Text)
        self.map = self.doc.get("map", type=Map[Any])
        self.array = self.doc.get("array", type=Array[Any])
        self.xml = self.doc.get("xml", type=XmlFragment)
        self._applying = False
        self._subscription = self.doc.observe(self._changed)

    def __enter__(self) -> PycrdtClient:
        self.connection.__enter__()
        self.connection.send(create_sync_message(self.doc))
        self._handle_until(lambda message: message[:2] == bytes((SYNC, STEP_2)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.doc.unobserve(self._subscription)
        self.connection.__exit__(kind, error, trace)

    def wait_until(self, holds: Callable[[], bool]) -> None:
        """Receive and apply messages until a condition holds."""
        if not holds():
            self._handle_until(lambda _message: holds())

    def _handle_until(self, enough: Callable[[bytes], bool]) -> None:
        def handled(message: bytes) -> bool:
            self._handle(message)
            return enough(message)

        self.connection.receive_until(handled)

    def _handle(self, message: bytes) -> None:
        if message[0] != SYNC:
            return
        self._applying = True
        try:
            answer = handle_sync_message(message[1:], self.doc)
        finally:
            self._applying = False
        if answer is not None:
            self.connection.send(answer)

    def _changed(self, event: TransactionEvent) -> None:
        if not self._applying:
            self.connection.send(create_update_message(event.update))
