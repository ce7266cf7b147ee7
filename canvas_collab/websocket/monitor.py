"""Periodic keep-alive of all client connections, and closing them when the daemon stops."""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from canvas_collab.descriptors import OTHER_DESCRIPTORS, raise_descriptor_limit
from canvas_collab.protocol.close_codes import CloseCode
from canvas_collab.timeouts import wait_at_most
from canvas_collab.websocket.server import ServerFactory

#: How long stopping waits for clients to close, in seconds.
CLIENTS_TIMEOUT = 1.5


class ConnectionMonitor(Service):
    """Pings silent clients, and closes every connection when it stops."""

    log = Logger()

    def __init__(self, reactor: Any, factory: ServerFactory, ping_interval: float) -> None:
        self._reactor = reactor
        self._factory = factory
        self._ping_interval = ping_interval
        self._pinging = LoopingCall(self._keep_all_alive)
        self._pinging.clock = reactor

    def startService(self) -> None:
        """Start pinging; log a warning if the process may not open enough file descriptors."""
        Service.startService(self)
        wanted, allowed = self._factory.settings.max_connections + OTHER_DESCRIPTORS, raise_descriptor_limit()
        if allowed < wanted:
            self.log.warn("too few file descriptors", allowed=allowed, wanted=wanted)
        self._pinging.start(self._ping_interval, now=False)

    def _keep_all_alive(self) -> None:
        for client in list(self._factory.clients):
            client.keep_alive()

    def stopService(self) -> Deferred[None]:
        """Close every connection with 1012; abort those that are still open after :data:`CLIENTS_TIMEOUT` seconds."""
        Service.stopService(self)
        self._pinging.stop()
        return Deferred.fromCoroutine(self._close_all())

    async def _close_all(self) -> None:
        empty: Deferred[None] = Deferred()
        self._factory.on_empty = lambda: None if empty.called else empty.callback(None)
        for client in list(self._factory.clients):
            client.close_now(CloseCode.SERVICE_RESTART, "the server restarts")
        if self._factory.clients:
            await wait_at_most(self._reactor, empty, CLIENTS_TIMEOUT, None)
        for client in list(self._factory.clients):
            client.dropConnection(abort=True)
