"""Draining: no new connections, the clients closed one after the other, and then the daemon stops."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger

from canvas_collab.protocol.close_codes import CloseCode
from canvas_collab.websocket.server import ServerFactory
from canvas_collab.websocket.server_protocol import ServerProtocol


class Drain:
    """Closes clients with 1012, spread over some time and in random order, so that they do not reconnect at once."""

    log = Logger()

    def __init__(self, reactor: Any, factory: ServerFactory, listener: Service, on_start: Callable[[], None]) -> None:
        """:param listener: the service that accepts clients.
        :param on_start: called when draining begins; ``/ready`` must answer 503 from then on.
        """
        self._reactor = reactor
        self._factory = factory
        self._listener = listener
        self._on_start = on_start
        self._is_draining = False

    def start(self, duration: float) -> int:
        """Start to close the clients, in `duration` seconds; return how many there are.

        :raises RuntimeError: if that was started before.
        """
        if self._is_draining:
            raise RuntimeError("the daemon is draining already")
        self._is_draining = True
        self._on_start()
        clients = list(self._factory.clients)
        self.log.warn("draining", connections=len(clients), seconds=duration)
        Deferred.fromCoroutine(self._drain(clients, duration))
        return len(clients)

    async def _drain(self, clients: list[ServerProtocol], duration: float) -> None:
        try:
            await maybeDeferred(self._listener.stopService)
        except Exception:
            # The clients are closed all the same.
            self.log.failure("listening not stopped")
        random.shuffle(clients)
        interval = duration / max(len(clients), 1)
        for number, client in enumerate(clients):
            delay = (number + random.random()) * interval
            self._reactor.callLater(delay, client.close_now, CloseCode.SERVICE_RESTART, "the server restarts")
        self._reactor.callLater(duration if clients else 0, self._stop)

    def _stop(self) -> None:
        # The daemon may have been told to stop meanwhile.
        with suppress(ReactorNotRunning):
            self._reactor.stop()
