"""Choosing a client's protocol by the URL path that it connects to."""

from __future__ import annotations

from typing import Any

from canvas_collab.config.application import RoutingSettings
from canvas_collab.config.connections import HocuspocusSettings
from canvas_collab.persistence.journal import Journal
from canvas_collab.rooms.opening import ConnectionOpener
from canvas_collab.websocket.hocuspocus import Hocuspocus
from canvas_collab.websocket.protocol_handler import ProtocolHandler, Socket
from canvas_collab.websocket.shared_limit import SharedLimit
from canvas_collab.websocket.y_websocket import YWebsocket


class HandlerRouter:
    """Makes the protocol handler of each socket."""

    def __init__(
        self,
        reactor: Any,
        opener: ConnectionOpener,
        journal: Journal,
        routing: RoutingSettings,
        hocuspocus: HocuspocusSettings,
    ) -> None:
        self._reactor = reactor
        self._opener = opener
        self._journal = journal
        self._routing = routing
        self._hocuspocus = hocuspocus
        self._pending_limit = SharedLimit(hocuspocus.max_pending_total)

    def handler(self, socket: Socket, path: str) -> ProtocolHandler:
        """Make a handler of the protocol that is spoken on this URL path."""
        if self._routing.is_hocuspocus_path(path):
            return Hocuspocus(self._reactor, socket, self._opener, self._journal, self._hocuspocus, self._pending_limit)
        return YWebsocket(self._reactor, socket, self._opener, self._journal)
