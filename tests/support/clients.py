"""A synchronous client of y-websocket's protocol: a pycrdt document and a WebSocket."""

from __future__ import annotations

import time
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Protocol
from urllib.parse import quote

from pycrdt import Doc, Text
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect, unix_connect

from canvas_collab.protocol import sync
from canvas_collab.protocol.lib0 import Decoder
from tests.support.databases import User

#: How long a message is waited for, in seconds.
PATIENCE = 15.0


def typed(text: str) -> bytes:
    """Return the update of a new client that inserts `text` into the shared text named ``text``."""
    doc: Doc[Any] = Doc()
    doc["text"] = Text(text)
    return doc.get_update()


class Refused(Exception):
    """The daemon refused the handshake or closed the connection.

    :ivar code: the HTTP status, or the close code; 1006 if there was no close frame.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class Server(Protocol):
    """A server that a client can connect to."""

    @property
    def ws_url(self) -> str:
        """The URL up to the path."""


class Client:
    """A client in the room of a diagram. Creating one waits until it is synced."""

    def __init__(
        self,
        server: Server,
        diagram: str,
        user: User | None,
        prefix: str = "",
        unix: str | None = None,
        **options: Any,
    ) -> None:
        """:param diagram: the id of the diagram.
        :param user: whose token to present, if any.
        :param prefix: what the path begins with.
        :param unix: the path of a unix socket to connect to.
        :param options: for `websockets`.
        :raises Refused: if the daemon does not open the room.
        """
        query = f"?token={quote(user.token)}" if user else ""
        url = f"{server.ws_url}{prefix}/diagram-{diagram}{query}"
        self._open = ExitStack()
        try:
            options.update(open_timeout=PATIENCE, close_timeout=1, max_size=None, compression=None)
            opening = unix_connect(unix, url, **options) if unix else connect(url, proxy=None, **options)
            self.socket = self._open.enter_context(opening)
        except InvalidStatus as error:
            raise Refused(error.response.status_code, error.response.reason_phrase) from None
        self.doc: Doc[Any] = Doc()
        self.awareness: list[bytes] = []
        self.synced = False
        self.send(sync.encode_step_1(self.doc.get_state()))
        while not self.synced:
            self.receive()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._open.close()

    @property
    def text(self) -> str:
        """The content of the shared text named ``text``."""
        return str(self.doc.get("text", type=Text))

    def send(self, message: bytes) -> None:
        """Send a message.

        :raises Refused: if the connection is closed.
        """
        try:
            self.socket.send(message)
        except ConnectionClosed as error:
            raise _refused(error) from None

    def edit(self, update: bytes) -> None:
        """Apply an update to the document and send it."""
        self.doc.apply_update(update)
        self.send(sync.encode_update(update))

    def receive(self) -> bytes:
        """Receive a message, apply or answer it, and return it.

        :raises Refused: if the connection is closed instead.
        """
        try:
            message = self.socket.recv(PATIENCE)
        except ConnectionClosed as error:
            raise _refused(error) from None
        assert isinstance(message, bytes)
        if message[:1] == b"\x01":
            self.awareness.append(Decoder(message[1:]).var_bytes())
            return message
        decoded = sync.decode(message)
        if isinstance(decoded, sync.SyncStep1):
            self.send(sync.encode_step_2(self.doc.get_update(decoded.state_vector)))
        elif isinstance(decoded, (sync.SyncStep2, sync.Update)):
            self.doc.apply_update(decoded.update)
            self.synced = self.synced or isinstance(decoded, sync.SyncStep2)
        return message

    def wait_for(self, text: str) -> None:
        """Receive messages until the shared text has this content."""
        deadline = time.monotonic() + PATIENCE
        while self.text != text:
            assert time.monotonic() < deadline, f"{self.text!r} is not {text!r}"
            self.receive()

    def wait_for_update(self) -> bytes:
        """Receive messages until one is an update, and return that."""
        while True:
            message = self.receive()
            if message[:2] == b"\x00\x02":
                return message

    def flush(self) -> list[bytes]:
        """Wait until the daemon has handled everything that was sent; return the messages received meanwhile.

        Messages are handled in order, so the answer to a sync step 1 shows that.
        """
        self.send(sync.encode_step_1(self.doc.get_state()))
        messages: list[bytes] = []
        while not messages or messages[-1][:2] != b"\x00\x01":
            messages.append(self.receive())
        return messages[:-1]

    def wait_for_close(self) -> tuple[int, str]:
        """Receive messages until the connection is closed; return the code and reason."""
        try:
            while True:
                self.receive()
        except Refused as closed:
            return closed.code, closed.reason


def _refused(error: ConnectionClosed) -> Refused:
    """Return the close code and reason as an error; 1006 if there was no close frame."""
    return Refused(error.rcvd.code, error.rcvd.reason) if error.rcvd else Refused(1006, "")
