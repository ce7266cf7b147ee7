"""A proxy to PostgreSQL that can stop forwarding, as a hanging server or network does."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from urllib.parse import parse_qs, urlsplit


class StallingProxy:
    """Forwards between a TCP port and PostgreSQL's unix socket, except while it is paused.

    :ivar url: the URL of the database through the proxy.
    """

    def __init__(self, database_url: str) -> None:
        """:param database_url: the URL of a database behind a unix socket, ``...?host=DIRECTORY``."""
        parts = urlsplit(database_url)
        self._target = f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432"
        self._flowing = threading.Event()
        self._flowing.set()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"postgresql://{parts.username}@127.0.0.1:{self._listener.getsockname()[1]}{parts.path}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> StallingProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listener.close()
        self._flowing.set()
        self.cut()

    def pause(self) -> None:
        """Stop forwarding; connections stay open, and new ones are accepted."""
        self._flowing.clear()

    def resume(self) -> None:
        """Forward again, first what was held back."""
        self._flowing.set()

    def cut(self) -> None:
        """Close every connection."""
        for end in self._sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._sockets.clear()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._target)
            except OSError:
                # PostgreSQL does not run: the client sees a closed connection.
                server.close()
                client.close()
                continue
            self._sockets += [client, server]
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self._flowing.wait()
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            # If one side breaks, the other is closed as well.
            for end in (source, sink):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
