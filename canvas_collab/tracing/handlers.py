"""Protocol handlers that note when each message was received, for the spans of the edits in it."""

from __future__ import annotations

from collections.abc import Sequence
from time import time_ns

from opentelemetry.trace import Link, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from canvas_collab.access.authorization import Request
from canvas_collab.protocol.close_codes import CloseCode
from canvas_collab.protocol.steps import Steps
from canvas_collab.rooms.connection import Connection
from canvas_collab.tracing.edits import EditTracer, Receipt
from canvas_collab.websocket.protocol_handler import ProtocolHandler


def handshake_links(request: Request) -> list[Link]:
    """Return a link to the span in a handshake's ``traceparent``; none without a valid one."""
    headers = {name: request.headers[name] for name in ("traceparent", "tracestate") if name in request.headers}
    context = get_current_span(TraceContextTextMapPropagator().extract(headers)).get_span_context()
    return [Link(context)] if context.is_valid else []


class TracedHandler:
    """A protocol handler that passes everything on to another one."""

    def __init__(self, edits: EditTracer, handler: ProtocolHandler) -> None:
        self.too_large_code: CloseCode = handler.too_large_code
        self._edits = edits
        self._handler = handler
        self._links: list[Link] = []

    @property
    def log_context(self) -> tuple[str | None, str | None]:
        """The room and the user id that log events of the socket concern."""
        return self._handler.log_context

    @property
    def connections(self) -> Sequence[Connection]:
        """The connections to rooms that the socket carries now."""
        return self._handler.connections

    async def accept_handshake(self, request: Request) -> None:
        """Decide whether to accept the handshake, and keep the context of its trace."""
        self._links = handshake_links(request)
        await self._handler.accept_handshake(request)

    def opened(self) -> None:
        """Called when the handshake is complete."""
        self._handler.opened()

    def received(self, payload: bytes) -> Steps[None]:
        """Handle a binary message, in steps; during each, its receipt is known to the tracer."""
        edits, steps = self._edits, self._handler.received(payload)
        receipt = Receipt(time_ns(), self._links)
        try:
            while True:
                edits.receipt = receipt
                try:
                    next(steps)
                except StopIteration:
                    return
                finally:
                    edits.receipt = None
                yield
        finally:
            steps.close()

    def received_small(self, payload: bytes) -> bool:
        """Handle a binary message at once, if that takes little time, with its receipt known to the tracer."""
        self._edits.receipt = Receipt(time_ns(), self._links)
        try:
            return self._handler.received_small(payload)
        finally:
            self._edits.receipt = None

    def backpressure_ended(self) -> Steps[None]:
        """Called when the client has read everything that was buffered."""
        return self._handler.backpressure_ended()

    def keep_alive(self, max_idle: float) -> None:
        """Send the client a message that keeps its connection alive."""
        self._handler.keep_alive(max_idle)

    def closed(self, code: int | None, reason: str | None) -> None:
        """Called when the socket is closed, or is about to be closed by the server."""
        self._handler.closed(code, reason)
