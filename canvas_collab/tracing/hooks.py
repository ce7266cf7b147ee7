"""Where traces hook into the daemon: objects that it is composed with, which do nothing more where traces are off."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from twisted.application.service import Service

from canvas_collab.persistence.journal import Log
from canvas_collab.persistence.store import LogEntry
from canvas_collab.websocket.protocol_handler import ProtocolHandler, Socket

#: Makes the protocol handler of a socket, for a URL path.
HandlerFactory: TypeAlias = Callable[[Socket, str], ProtocolHandler]

#: Appends an update to the journal; called with the document's name, the user's id and the update.
Append: TypeAlias = Callable[[str, str, bytes], None]


class Tracing:
    """The hooks without traces: everything is as it would be without them."""

    def services(self) -> list[Service]:
        """Return what has to be started and stopped."""
        return []

    def trace_log(self, log: Log) -> Log:
        """Return what the journal writes to."""
        return log

    def trace_handlers(self, make: HandlerFactory) -> HandlerFactory:
        """Return a function that makes protocol handlers."""
        return make

    def trace_room(self, append: Callable[[LogEntry], None]) -> tuple[Append, Callable[[], None] | None]:
        """Return what one room appends its updates with, and what is called after each of its flushes.

        :param append: appends an entry to the journal.
        """

        def append_update(document_id: str, user_id: str, update: bytes) -> None:
            append(LogEntry(document_id, user_id, update))

        return append_update, None
