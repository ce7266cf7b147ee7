"""A synchronous client of Hocuspocus's protocol that sends given bytes, and sorts what it receives by address."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, NoReturn

from pycrdt import Doc, Text
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from canvas_collab.protocol import hocuspocus, sync
from canvas_collab.protocol.lib0 import Decoder, encode_var_string
from tests.support.daemons import Daemon

AUTHENTICATED = b"\x02\x02"
DENIED = b"\x02\x01"
STEP_1, STEP_2, UPDATE = b"\x00\x00", b"\x00\x01", b"\x00\x02"


class Closed(Exception):
    """The daemon closed the socket; 1006 if it did so without a close frame."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


def authentication(token: str, version: str | None = "4.8.0") -> bytes:
    """Encode a message with a token, without its address.

    :param version: the provider's, which old ones do not send.
    """
    return b"\x02\x00" + encode_var_string(token) + (encode_var_string(version) if version is not None else b"")


class RawHocuspocus(AbstractContextManager["RawHocuspocus"]):
    """A socket, to be used in a with statement."""

    def __init__(self, daemon: Daemon, path: str = "/", timeout: float = 15, **options: Any) -> None:
        self._timeout = timeout
        options.update(compression=None, max_size=None, ping_interval=None, proxy=None, close_timeout=1)
        self._opening = connect(daemon.ws_url + path, **options)
        self._received: list[tuple[str, bytes]] = []

    def __enter__(self) -> RawHocuspocus:
        self._socket: ClientConnection = self._opening.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opening.__exit__(kind, error, trace)

    def send(self, address: str, message: bytes) -> None:
        """Send a message of the document with this address."""
        self.send_raw(hocuspocus.encode_address(address) + message)

    def send_raw(self, data: bytes) -> None:
        """Send a frame."""
        try:
            self._socket.send(data)
        except ConnectionClosed as error:
            raise _closed(error) from None

    def open(self, address: str, token: str) -> str:
        """Authenticate for a document, and return the scope."""
        self.send(address, authentication(token))
        return Decoder(self.wait_for(address, AUTHENTICATED)[2:]).var_string()

    def edit(self, address: str, update: bytes) -> None:
        """Send an update."""
        self.send(address, sync.encode_update(update))

    def content(self, address: str) -> str:
        """Request the document, and return the content of its shared text named ``text``."""
        self.send(address, sync.encode_step_1(b"\x00"))
        doc: Doc[Any] = Doc()
        doc.apply_update(Decoder(self.wait_for(address, STEP_2)[2:]).var_bytes())
        return str(doc.get("text", type=Text))

    def wait_for(self, address: str, beginning: bytes) -> bytes:
        """Return the next message at an address that begins with these bytes; others are kept for later calls.

        :raises Closed: if the socket is closed instead.
        """
        deadline = time.monotonic() + self._timeout
        while True:
            for received in self._received:
                if received[0] == address and received[1].startswith(beginning):
                    self._received.remove(received)
                    return received[1]
            self._received.append(self._receive(deadline))

    def heard(self, address: str, beginning: bytes = b"") -> list[bytes]:
        """Return the messages at an address that were received but not returned by :meth:`wait_for`."""
        return [message for at, message in self._received if at == address and message.startswith(beginning)]

    def denied(self, address: str) -> str:
        """Wait until the daemon refuses to open a document, and return the reason."""
        return Decoder(self.wait_for(address, DENIED)[2:]).var_string()

    def ping(self) -> None:
        """Wait until the daemon has handled everything that was sent before."""
        self.send_raw(hocuspocus.PING)
        deadline = time.monotonic() + self._timeout
        while True:
            message = self._receive_raw(deadline)
            if message == hocuspocus.PONG:
                return
            self._received.append(_split(message))

    def ping_for_ever(self) -> NoReturn:
        """Ping until the daemon closes the socket.

        :raises Closed: then.
        """
        while True:
            self.ping()

    def wait_closed(self) -> Closed:
        """Receive messages until the socket is closed; return the code and reason."""
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                self._received.append(self._receive(deadline))
            except Closed as closed:
                return closed

    def _receive(self, deadline: float) -> tuple[str, bytes]:
        return _split(self._receive_raw(deadline))

    def _receive_raw(self, deadline: float) -> bytes:
        try:
            data = self._socket.recv(max(deadline - time.monotonic(), 0))
        except ConnectionClosed as error:
            raise _closed(error) from None
        assert isinstance(data, bytes)
        return data


def _split(data: bytes) -> tuple[str, bytes]:
    """Return the address of a message, and the rest."""
    decoder = Decoder(data)
    return decoder.var_string(), data[decoder.position :]


def _closed(error: ConnectionClosed) -> Closed:
    return Closed(error.rcvd.code, error.rcvd.reason) if error.rcvd else Closed(1006, "")
