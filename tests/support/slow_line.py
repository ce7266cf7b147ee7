"""A TCP proxy to a daemon that passes on so many bytes in a second, as a slow line does."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType

#: How many bytes are passed on at a time.
CHUNK = 4096


class SlowLine:
    """Forwards TCP connections, the bytes from the server, or from the client as well, at a limited rate.

    :ivar url: the WebSocket URL of the daemon through the proxy.
    :ivar received: how many bytes of the server were passed on.
    """

    def __init__(self, port: int, rate: float, upload_rate: float | None = None) -> None:
        """:param port: where the daemon listens.
        :param rate: in bytes per second, of each connection, from the server to the client.
        :param upload_rate: from the client to the server; None for no limit.
        """
        self._port = port
        self._rate = rate
        self._upload_rate = upload_rate
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self._listener.getsockname()[1]}"
        self.received = 0
        #: How many connections were made.
        self.connections = 0

    def __enter__(self) -> SlowLine:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Closing alone does not wake the thread that accepts.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            server = socket.create_connection(("127.0.0.1", self._port))
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets += [client, server]
            for source, sink, rate in ((client, server, self._upload_rate), (server, client, self._rate)):
                threading.Thread(target=self._forward, args=(source, sink, rate), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, rate: float | None) -> None:
        free_at = time.monotonic()
        try:
            while data := source.recv(CHUNK):
                if rate is not None:
                    free_at = max(free_at, time.monotonic()) + len(data) / rate
                    time.sleep(max(free_at - time.monotonic(), 0))
                    if rate is self._rate:
                        self.received += len(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            for end in (source, sink):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
