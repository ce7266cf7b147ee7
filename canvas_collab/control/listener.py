"""The unix socket on which requests are received: a line of JSON each, answered by lines of JSON.

A client sends one request, an object in one line: ``{"request": "rooms"}``.  Every line of the answer is an object:
``{"item": …}`` any number of times, and at last ``{"end": true}``, or ``{"error": "a sentence"}``.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.task import Cooperator
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from canvas_collab.control.requests import InvalidRequest, RequestHandler

#: The longest request, in bytes.
MAX_REQUEST = 4096

#: How many may be connected, and how long each may take to send its request, in seconds.
MAX_CONNECTIONS = 8
REQUEST_TIMEOUT = 10.0

#: How many lines of an answer are made before other work has its turn.
LINES_PER_STEP = 50


class ControlProtocol(LineOnlyReceiver):
    """One connection to the control socket."""

    log = Logger()
    delimiter = b"\n"
    MAX_LENGTH = MAX_REQUEST
    factory: ControlFactory
    transport: Any

    def __init__(self) -> None:
        self._timer: IDelayedCall | None = None
        self._is_answered = False
        self._is_lost = False

    def connectionMade(self) -> None:
        """Wait for the request, unless too many are connected."""
        self.factory.connected += 1
        self._timer = self.factory.reactor.callLater(REQUEST_TIMEOUT, self.transport.abortConnection)
        if self.factory.connected > MAX_CONNECTIONS:
            self._fail("too many commands are connected to the daemon")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Stop to answer."""
        self.factory.connected -= 1
        self._is_lost = True
        self._cancel_timer()

    def lineReceived(self, line: bytes) -> None:
        """Answer the request; what follows it is ignored."""
        if self._is_answered:
            return
        self._is_answered = True
        self._cancel_timer()
        try:
            answer = self.factory.handler.answer(json.loads(line))
        except InvalidRequest as error:
            self._fail(str(error))
        except (ValueError, RecursionError):
            self._fail("a request is one line of JSON")
        else:
            self.factory.cooperator.coiterate(self._send_all(answer)).addErrback(self._failed)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a long request."""
        self._fail(f"a request has at most {MAX_REQUEST} bytes")

    def _send_all(self, answer: Iterator[dict[str, Any]]) -> Iterator[None]:
        for number, item in enumerate(answer, 1):
            if self._is_lost:
                return
            self._send({"item": item})
            if number % LINES_PER_STEP == 0:
                yield
        self._end({"end": True})

    def _failed(self, failure: Failure) -> None:
        if failure.check(InvalidRequest):
            self._fail(failure.getErrorMessage())
            return
        self.log.failure("control request failed", failure)
        self._fail("internal error; the daemon's log says more")

    def _fail(self, sentence: str) -> None:
        self._is_answered = True
        self._end({"error": sentence})

    def _end(self, line: dict[str, Any]) -> None:
        self._send(line)
        self.transport.loseConnection()

    def _send(self, line: dict[str, Any]) -> None:
        self.transport.write(json.dumps(line).encode() + b"\n")

    def _cancel_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()


class ControlFactory(Factory):
    """Makes a :class:`ControlProtocol` for each connection."""

    protocol: Any = ControlProtocol
    noisy = False

    def __init__(self, reactor: Any, handler: RequestHandler, cooperator: Cooperator) -> None:
        self.reactor = reactor
        self.handler = handler
        self.cooperator = cooperator
        #: How many are connected.
        self.connected = 0


class ControlListener(Service):
    """Listens on the control socket, which only the daemon's user, and root, can connect to.

    Without a path it does nothing.  If the socket cannot be opened, that is logged, and the daemon serves clients.
    """

    log = Logger()

    def __init__(self, reactor: Any, path: str, factory: ControlFactory) -> None:
        self._reactor = reactor
        self._path = path
        self._factory = factory
        self._port: Any = None

    def startService(self) -> None:
        """Open the socket."""
        Service.startService(self)
        if self._path:
            Deferred.fromCoroutine(self._listen())

    async def _listen(self) -> None:
        try:
            _remove_unused(self._path)
            self._port = await UNIXServerEndpoint(self._reactor, self._path, mode=0o600).listen(self._factory)
        except Exception as error:
            cause = getattr(error, "socketError", error)
            reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
            self.log.error("control socket not opened", path=self._path, reason=reason)

    def stopService(self) -> Deferred[None] | None:
        """Close the socket, and remove it."""
        Service.stopService(self)
        port, self._port = self._port, None
        stopping: Deferred[None] | None = port.stopListening() if port is not None else None
        return stopping


def _remove_unused(path: str) -> None:
    """Remove a socket on which nothing listens: that of a daemon that was killed.

    :raises OSError: if something listens on it, or it is something else than a socket.
    """
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.EEXIST, "there is a file of that name, which is not a socket")
        with socket.socket(socket.AF_UNIX) as probe:
            # A daemon that hangs does not accept connections, and connecting would wait for it.
            probe.setblocking(False)
            try:
                probe.connect(path)
            except BlockingIOError:
                pass
            except ConnectionRefusedError:
                os.unlink(path)
                return
        raise OSError(errno.EADDRINUSE, "another daemon listens on it")
