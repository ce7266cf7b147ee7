"""One client's WebSocket: handshake, messages, backpressure and closing.

What the messages mean is up to the :class:`~canvas_collab.websocket.protocol_handler.ProtocolHandler`.
"""

from __future__ import annotations

from typing import Any

from autobahn.websocket.types import ConnectionDeny, ConnectionRequest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from canvas_collab.access.authorization import Denied
from canvas_collab.protocol.close_codes import CloseCode, ProtocolViolation
from canvas_collab.protocol.frames import encode_pong
from canvas_collab.protocol.steps import Steps
from canvas_collab.websocket.handshake import choose_subprotocol, read_request
from canvas_collab.websocket.inbound import InboundQueue
from canvas_collab.websocket.liveness import Liveness
from canvas_collab.websocket.outbound import OutboundTransport
from canvas_collab.websocket.protocol_handler import ProtocolHandler
from canvas_collab.websocket.receiving import Receiver
from canvas_collab.websocket.socket_server import Server


class ServerProtocol(Receiver):
    """One client's WebSocket."""

    factory: Server
    #: Sends messages to the client.
    outbound: OutboundTransport
    _liveness: Liveness

    def __init__(self) -> None:
        super().__init__()
        #: Whether the WebSocket is closing or closed, so that nothing can be sent.
        self.is_closing = False
        self._was_closed_by_server = False
        self._handler: ProtocolHandler | None = None
        self._denied: Denied | None = None
        # The last ping that was received while the client had backpressure.
        self._unanswered_ping: bytes | None = None
        self._delayed_close: IDelayedCall | None = None

    @property
    def may_send(self) -> bool:
        """Whether messages can be sent now."""
        return bool(self.state == self.STATE_OPEN) and not self.is_closing

    @property
    def handler(self) -> ProtocolHandler | None:
        """What handles the messages: None before it is chosen, and after the client was closed."""
        return self._handler

    # Handshake

    def connectionMade(self) -> None:
        """Called when the TCP connection is accepted."""
        settings = self.factory.settings
        self.outbound = OutboundTransport(self.transport, self, settings.send_buffer_max)
        self.rate_limiter = self.factory.rate_limiter_for(self)
        self.inbound = InboundQueue(self, self.factory.cooperator, self.rate_limiter.messages)
        self._liveness = Liveness(self.factory.reactor, self, settings.stall_timeout)
        super().connectionMade()
        self.factory.client_connected(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Called when the TCP connection is lost, whatever state the WebSocket is in."""
        self.is_closing = self._is_lost = True
        self.outbound.invalidate()
        self._liveness.stop()
        if self._delayed_close is not None and self._delayed_close.active():
            self._delayed_close.cancel()
        self.discard_incomplete()
        self.factory.client_disconnected(self)
        super().connectionLost(reason)
        self.onClose(False, None, None)

    def onConnect(self, request: ConnectionRequest) -> Any:
        """Decide whether to accept the handshake, and fire with the subprotocol; meanwhile nothing is read."""
        self.pause_reading()
        return Deferred.fromCoroutine(self._decide(request))

    async def _decide(self, connecting: ConnectionRequest) -> str | None:
        try:
            request = read_request(self.http_request_uri, connecting.headers)
            self.factory.admit(self, connecting.headers)
            self._handler = self.factory.handler_for(self, request.path)
            await self._handler.accept_handshake(request)
            if self.is_closing:
                raise Denied(408, CloseCode.TIMEOUT, "too late", "the client did not wait")
        except Denied as denied:
            self._deny(denied)
        except Exception:
            # Autobahn would send the client the exception's text.
            self.events.failure("handshake failed", client=self.client_address)
            self._deny(Denied(500, CloseCode.INTERNAL_ERROR, "internal error", "internal error"))
        finally:
            self.resume_reading()
        return choose_subprotocol(connecting.protocols)

    def _deny(self, denied: Denied) -> None:
        if not self.factory.reject_by_closing:
            raise ConnectionDeny(denied.status, denied.public_reason) from denied
        self._denied = denied

    def onOpen(self) -> None:
        """Called when the handshake is complete."""
        if self._denied is not None:
            self._close_later(self._denied.code, self._denied.public_reason)
        elif self._handler is not None:
            self._set_no_delay()
            self.transport.registerProducer(self.outbound, True)
            self.limit_message_size(self._size_limit)
            self._handler.opened()

    def _set_no_delay(self) -> None:
        """Set ``TCP_NODELAY``: Autobahn sets it before the transport has its socket, which has no effect."""
        if isinstance(self.transport.getHost(), (IPv4Address, IPv6Address)):
            self.transport.setTcpNoDelay(True)

    # Messages

    @property
    def log_context(self) -> tuple[str | None, str | None]:
        """The room and the user id, for the event log; None before a document is open."""
        return self._handler.log_context if self._handler is not None else (None, None)

    @property
    def too_large_code(self) -> CloseCode | None:
        """The close code for a message over the size limit; None before a protocol handler is chosen."""
        return self._handler.too_large_code if self._handler is not None else None

    @property
    def is_handling_paused(self) -> bool:
        """Whether what is received stays queued: reading is paused, or the close frame is about to be sent."""
        return self._handling_pauses > 0 or (self._delayed_close is not None and self._delayed_close.active())

    def handle(self, message: bytes | None) -> Steps[None]:
        """Handle a message, in steps; None is a text message, which no protocol has."""
        if self._handler is None or self._was_closed_by_server:
            return
        try:
            if message is None:
                raise ProtocolViolation(CloseCode.MALFORMED, "malformed message: text, where bytes are spoken")
            yield from self._handler.received(message)
        except Exception as error:
            self._close_for(error)

    def handle_small(self, message: bytes) -> bool:
        """Handle a binary message at once, if that takes little time; otherwise return False, with nothing done."""
        if self._handler is None or self._was_closed_by_server:
            return True
        try:
            return self._handler.received_small(message)
        except Exception as error:
            self._close_for(error)
            return True

    def _close_for(self, error: Exception) -> None:
        """Close the connection for an exception that handling a message has raised."""
        if isinstance(error, ProtocolViolation):
            self.close(error.code, error.reason)
        else:
            # A bug here must not affect other clients.
            self.events.failure("message not handled", client=self.client_address)
            self.close(CloseCode.INTERNAL_ERROR, "internal error")

    def schedule(self, steps: Steps[None]) -> None:
        """Run steps after the messages that have been received so far."""
        self.inbound.add(self._guarded(steps))

    def _guarded(self, steps: Steps[None]) -> Steps[None]:
        try:
            yield from steps
        except Exception:
            self.events.failure("message not handled", client=self.client_address)
            self.close(CloseCode.INTERNAL_ERROR, "internal error")

    def ping_received(self, payload: bytes) -> None:
        """Answer a ping; during backpressure only the last one is answered, when the backpressure ends."""
        if self.outbound.has_backpressure:
            self._unanswered_ping = payload
        elif self.may_send:
            self.outbound.send_frame(encode_pong(payload))

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        """Called by Autobahn to send a ping, a pong or a close frame."""
        if self.outbound.reserve(len(data)):
            super().sendData(data, sync, chopsize)

    # Closing

    def close(self, code: CloseCode, reason: str, abort: bool = False) -> None:
        """Close the connection because of what the client did, or because it may not stay connected.

        :param abort: whether to drop the TCP connection without a close frame.
        """
        if self.is_closing:
            return
        room, user = self.log_context
        client = self.client_address
        self.factory.counters.closed[int(code)] += 1
        self.events.info("connection ended", reason=reason, room=room, user=user, client=client, code=int(code))
        if abort:
            self.dropConnection(abort=True)
        else:
            self._close_later(code, reason)

    def _close_later(self, code: CloseCode, reason: str) -> None:
        """Close the client's documents now, and send the close frame later: many clients reconnect immediately.

        Until then nothing is read from the client, and nothing is sent to it.
        """
        self.is_closing = self.is_discarding = True
        self.outbound.invalidate()
        self._liveness.stop()
        self.pause_reading()
        delay = self.factory.settings.close_delay
        self._delayed_close = self.factory.reactor.callLater(delay, self.close_now, code, reason)
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.closed(int(code), reason)

    def close_now(self, code: CloseCode, reason: str) -> None:
        """Send the close frame."""
        self.is_discarding = self._was_closed_by_server = True
        if self.state == self.STATE_OPEN:
            # sendClose() refuses 1012 as a code that servers may not send. A reason may have 123 bytes.
            self.sendCloseFrame(int(code), reason.encode()[:123].decode("utf-8", "ignore").encode())
            if self.is_closing:
                # Read the client's close frame.
                self.inbound.process()
                self.resume_reading()

    def dropConnection(self, abort: bool = False) -> None:
        """Close the TCP connection."""
        self.is_discarding = True
        self.outbound.invalidate()
        super().dropConnection(abort)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """Called when the WebSocket is closed, by either side; tell the handler after it has handled all messages."""
        if self._handler is not None:
            self.inbound.add_at_end(self._handler_closed(self._handler, code, reason))

    def _handler_closed(self, handler: ProtocolHandler, code: int | None, reason: str | None) -> Steps[None]:
        handler.closed(code, reason)
        return
        yield

    # Backpressure and keep-alive

    def backpressure_started(self) -> None:
        """Called when the client reads more slowly than it is sent to."""
        self.factory.counters.backpressure += not self._liveness.has_backpressure
        self._liveness.backpressure_started()

    def backpressure_ended(self) -> None:
        """Answer a ping, and have the handler send what the client has missed."""
        self._liveness.backpressure_ended()
        payload, self._unanswered_ping = self._unanswered_ping, None
        if payload is not None:
            self.ping_received(payload)
        if self._handler is not None and self.may_send:
            self.schedule(self._handler.backpressure_ended())

    def backlog_exceeded(self) -> None:
        """Called when more would have to be buffered for the client than is allowed."""
        self.abort_unresponsive("too much is waiting to be read")

    def abort_unresponsive(self, reason: str) -> None:
        """Drop the connection, since the client does not read or does not answer."""
        self.close(CloseCode.TOO_SLOW, reason, abort=True)

    def keep_alive(self) -> None:
        """Ping a client that was silent since the last call, and drop it if it did not answer the ping of then."""
        if not self.may_send:
            return
        if self._handler is not None and not self._liveness.has_backpressure:
            # Less than the interval, or the client could be sent nothing for almost two intervals.
            self._handler.keep_alive(self.factory.settings.ping_interval / 4)
        self._liveness.check()
