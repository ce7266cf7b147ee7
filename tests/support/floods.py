"""A socket that sends the same bytes again and again, as fast as the daemon takes them, and reads what comes."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType

from tests.support.daemons import Daemon
from tests.support.frames import client_frame, handshake

#: What is read at a time.
CHUNK = 2**16


class Flood:
    """One flooding socket, from entering to leaving the context, or until the daemon ends it."""

    def __init__(
        self, daemon: Daemon, again: list[bytes], first: bytes | None = None, answer: bytes = b"", path: str = "/"
    ) -> None:
        """:param again: the messages of the flood.
        :param first: a message that is sent once before it, and whose `answer` is waited for.
        """
        self.over = threading.Event()
        self._socket = socket.create_connection(("127.0.0.1", daemon.ws_port), timeout=30)
        self._path = path
        self._first = first
        self._answer = answer
        self._again = b"".join(map(client_frame, again))
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
            assert chunk, "the daemon ended the socket"
            received += chunk

    def _send(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._socket.sendall(self._again)

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while self._socket.recv(CHUNK):
                pass
        self.over.set()
