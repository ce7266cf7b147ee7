"""A socket that repeats the same messages as fast as the daemon accepts them, and discards what it receives."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType

from tests.support.daemons import Daemon
from tests.support.frames import client_frame, handshake

#: How many bytes are read at a time.
CHUNK = 2**16


class Flood:
    """A flooding socket, to be used in a with statement; it stops when the daemon closes it.

    :ivar over: set when the daemon has closed it.
    """

    def __init__(
        self, daemon: Daemon, messages: list[bytes], first: bytes | None = None, answer: bytes = b"", path: str = "/"
    ) -> None:
        """:param messages: the messages that are repeated.
        :param first: a message that is sent once before them.
        :param answer: bytes that are waited for after that message.
        """
        self.over = threading.Event()
        self._socket = socket.create_connection(("127.0.0.1", daemon.ws_port), timeout=30)
        self._path = path
        self._first = first
        self._answer = answer
        self._frames = b"".join(map(client_frame, messages))
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._send, self._read)]

    def __enter__(self) -> Flood:
        self._socket.sendall(handshake(self._path))
        self._read_until(b"\r\n\r\n")
        if self._first is not None:
            self._socket.sendall(client_frame(self._first))
            self._read_until(self._answer)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._socket.close()

    def _read_until(self, wanted: bytes) -> None:
        received = b""
        while wanted not in received:
            chunk = self._socket.recv(CHUNK)
            assert chunk, "the daemon closed the socket"
            received += chunk

    def _send(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._socket.sendall(self._frames)

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while self._socket.recv(CHUNK):
                pass
        self.over.set()
