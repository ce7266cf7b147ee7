"""One client's WebSocket: handshake, frames, back pressure, closing.  What is said on it is the dialect's business."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from autobahn.websocket.types import ConnectionDeny, ConnectionRequest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from canvas_collab.access.authorization import Denied
from canvas_collab.protocol.close_codes import CloseCode, ProtocolViolation
from canvas_collab.protocol.frames import encode_pong
from canvas_collab.protocol.steps import Steps
from canvas_collab.rooms.opening import ConnectionOpener
from canvas_collab.websocket.handshake import choose_subprotocol, read_request
from canvas_collab.websocket.inbound import InboundQueue
from canvas_collab.websocket.outbound import OutboundTransport
from canvas_collab.websocket.protocol_handler import ProtocolHandler, Socket
from canvas_collab.websocket.receiving import Receiver, ReceivingServer

#: A client is not read for the sake of what it has sent before for no longer than this, in seconds.
LONGEST_HOLD = 1.0


class Server(ReceivingServer, Protocol):
    """What a client's WebSocket asks of whoever has all of them."""

    reactor: Any
    opener: ConnectionOpener

    @property
    def over_capacity(self) -> bool:
        """Whether one more client is one too many; the one that asks has been counted."""

    @property
    def reject_by_closing(self) -> bool:
        """Whether who may not come in is told so by a close code."""

    def handler_for(self, socket: Socket, path: str) -> ProtocolHandler:
        """A handler of the protocol that is spoken on this URL path."""

    def accepted(self, client: ServerProtocol) -> None:
        """A socket has been accepted."""

    def gone(self, client: ServerProtocol) -> None:
        """A socket has gone."""


class ServerProtocol(Receiver):
    """One client's WebSocket."""

    factory: Server
    #: What messages are sent on.
    outbound: OutboundTransport
    #: Autobahn's own messages go elsewhere, to `log`.
    events = Logger()

    def __init__(self) -> None:
        super().__init__()
        self.is_closing = False
        # Whether the connection was ended from this side, so that no message counts any more.
        self._was_ended = False
        self._handler: ProtocolHandler | None = None
        self._denied: Denied | None = None
        self._was_heard = True
        self._was_pinged = False
        # How often it is waited for what was sent before.
        self._waits = 0
        self._unanswered: bytes | None = None
        self._stalled: IDelayedCall | None = None
        self._farewell: IDelayedCall | None = None

    @property
    def client(self) -> str:
        """The client's address, for the log."""
        # Autobahn puts the kind of the transport in front, unless a proxy said who it is.
        return str(self.peer).removeprefix("tcp4:").removeprefix("tcp6:")

    @property
    def may_send(self) -> bool:
        """Whether messages can be sent now."""
        return bool(self.state == self.STATE_OPEN) and not self.is_closing

    # The handshake

    def connectionMade(self) -> None:
        """A socket has been accepted."""
        self.outbound = OutboundTransport(self.transport, self, self.factory.settings.send_buffer_max)
        self.inbound = InboundQueue(self, self.factory.cooperator)
        super().connectionMade()
        self.factory.accepted(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """A socket has gone, whatever state it was in."""
        self.is_closing = self._was_lost = True
        self.outbound.disturbed()
        self._stop_waiting()
        if self._farewell is not None and self._farewell.active():
            self._farewell.cancel()
        self.forget_incomplete()
        self.factory.gone(self)
        super().connectionLost(reason)
        self._closed(None, None)

    def dataReceived(self, data: bytes) -> None:
        """The client has sent something."""
        self._was_heard = True
        super().dataReceived(data)

    def handshake_too_large(self) -> None:
        """More has come of a handshake than any has."""
        self.events.info("connection denied", reason="handshake too large", room="", user=None, client=self.client)
        self.dropConnection(abort=True)

    @property
    def is_waiting(self) -> bool:
        """Whether what it has sent is to be kept for later.

        It is to be told in a moment that it is over, or what it has sent before is on its way to disk.
        """
        return self._waits > 0 or (self._farewell is not None and self._farewell.active())

    def onConnect(self, request: ConnectionRequest) -> Any:
        """Decide over a handshake, and say which subprotocol is spoken; nothing more is read until that is done."""
        self.pause_reading()
        deciding = Deferred.fromCoroutine(self._decide(request))
        return deciding.addBoth(self._decided)

    def _decided(self, result: object) -> Any:
        self.resume_reading()
        return result

    async def _decide(self, connecting: ConnectionRequest) -> str | None:
        try:
            request = read_request(self.http_request_uri, connecting.headers)
            if self.factory.over_capacity:
                denied = Denied(503, CloseCode.TRY_AGAIN_LATER, "try again later", "too many connections")
                self.factory.opener.log_denial(denied, "", self.client)
                raise denied
            self._handler = self.factory.handler_for(self, request.path)
            await self._handler.handshake_received(request)
            if self.is_closing:
                raise Denied(408, CloseCode.TIMEOUT, "too late", "the client did not wait")
        except Denied as denied:
            self._deny(denied)
        except Exception:
            # Autobahn would tell the client what went wrong in here.
            self.events.failure("handshake failed", client=self.client)
            self._deny(Denied(500, CloseCode.INTERNAL_ERROR, "internal error", "internal error"))
        return choose_subprotocol(connecting.protocols)

    def _deny(self, denied: Denied) -> None:
        if not self.factory.reject_by_closing:
            raise ConnectionDeny(denied.status, denied.public_reason) from denied
        self._denied = denied

    def onOpen(self) -> None:
        """The handshake is done."""
        if self._denied is not None:
            self._part(self._denied.code, self._denied.public_reason)
        elif self._handler is not None:
            self._set_no_delay()
            self.transport.registerProducer(self.outbound, True)
            self.admit_messages(self._admitted)
            self._handler.opened()

    def _set_no_delay(self) -> None:
        """Autobahn sets this before the transport is connected to anything, so that it has no effect."""
        if isinstance(self.transport.getHost(), (IPv4Address, IPv6Address)):
            self.transport.setTcpNoDelay(True)

    # Messages

    @property
    def too_large(self) -> CloseCode | None:
        """The code at which the client stops sending a message that is too large; None before anything is spoken."""
        return self._handler.message_too_large if self._handler is not None else None

    def handle(self, message: bytes | None) -> Steps[None]:
        """Deal with a message, in steps; text, which is not spoken here, is None."""
        if self._handler is None or self._was_ended:
            return
        try:
            if message is None:
                raise ProtocolViolation(CloseCode.MALFORMED, "malformed message: text, where bytes are spoken")
            yield from self._handler.received(message)
        except ProtocolViolation as violation:
            self.end(violation.code, violation.reason)
        except Exception:
            # Our own mistake, which should cost nobody else anything.
            self.events.failure("message not handled", client=self.client)
            self.end(CloseCode.INTERNAL_ERROR, "internal error")

    def pause_reading_until(self, subscribe: Callable[[Callable[[], None]], None]) -> None:
        """Read nothing of the client until something has happened, or for a second.

        :param subscribe: is given what is to be called then.
        """
        self._waits += 1
        self.pause_reading()
        timer = self.factory.reactor.callLater(LONGEST_HOLD, self._go_on)

        def go_on() -> None:
            if timer.active():
                timer.cancel()
                self._go_on()

        subscribe(go_on)

    def _go_on(self) -> None:
        self._waits -= 1
        self.resume_reading()
        self.inbound.go_on()

    def do(self, steps: Steps[None]) -> None:
        """Do something in its turn, after the messages that came before it."""
        self.inbound.add(self._guarded(steps))

    def _guarded(self, steps: Steps[None]) -> Steps[None]:
        try:
            yield from steps
        except Exception:
            self.events.failure("message not handled", client=self.client)
            self.end(CloseCode.INTERNAL_ERROR, "internal error")

    def pinged(self, payload: bytes) -> None:
        """Answer a ping; of those that came while the client did not read the last one is, when it reads again."""
        if self.outbound.has_backpressure:
            self._unanswered = payload
        elif self.may_send:
            self.outbound.send_frame(encode_pong(payload))

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """The connection has been closed, by whichever side."""
        self._closed(code, reason)

    def _closed(self, code: int | None, reason: str | None) -> None:
        """The messages that came before still count."""
        if self._handler is not None:
            self.inbound.add_at_end(self._leave(self._handler, code, reason))

    def _leave(self, handler: ProtocolHandler, code: int | None, reason: str | None) -> Steps[None]:
        handler.closed(code, reason)
        return
        yield

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        """Autobahn sends something: a ping, a pong, a close frame."""
        if self.outbound.admits(len(data)):
            super().sendData(data, sync, chopsize)

    def dropConnection(self, abort: bool = False) -> None:
        """The connection ends."""
        self.is_over = True
        self.outbound.disturbed()
        super().dropConnection(abort)

    def close(self, code: CloseCode, reason: str) -> None:
        """Close the connection now."""
        self.is_over = self._was_ended = True
        if self.state == self.STATE_OPEN:
            # Not sendClose(), which takes 1012 for a code that a server may not send. A reason may have 123 bytes.
            self.sendCloseFrame(int(code), reason.encode()[:123].decode("utf-8", "ignore").encode())
            if self.is_closing:
                # The client's own close frame is still to come.
                self.inbound.go_on()
                self.resume_reading()

    def end(self, code: CloseCode, reason: str, abort: bool = False) -> None:
        """End the connection for something the client did, or is."""
        if self.is_closing:
            return
        room, user = self._handler.log_context if self._handler else (None, None)
        self.events.info("connection ended", reason=reason, code=int(code), room=room, user=user, client=self.client)
        if abort:
            self.dropConnection(abort=True)
        else:
            self._part(code, reason)

    def _part(self, code: CloseCode, reason: str) -> None:
        """Have nothing more to do with the client, and tell it a moment later: many come back at once when they hear.

        Until then nothing is read of it and nothing sent, and what it had open is closed.
        """
        self.is_closing = self.is_over = True
        self.outbound.disturbed()
        self._stop_waiting()
        self.pause_reading()
        self._farewell = self.factory.reactor.callLater(self.factory.settings.close_delay, self.close, code, reason)
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.closed(int(code), reason)

    # Whether what was sent is being read

    def backpressure_started(self) -> None:
        """The client reads more slowly than it is sent to."""
        if self._stalled is None:
            self._wait_for_progress()

    def _wait_for_progress(self) -> None:
        timeout = self.factory.settings.stall_timeout
        self._stalled = self.factory.reactor.callLater(timeout, self._look_for_progress, self.outbound.progress)

    def _look_for_progress(self, before: int) -> None:
        if self.outbound.progress > before:
            self._wait_for_progress()
        else:
            self._give_up("nothing is being read")

    def drained(self) -> None:
        """The client has read all that waited."""
        self._was_heard = True
        self._stop_waiting()
        unanswered, self._unanswered = self._unanswered, None
        if unanswered is not None:
            self.pinged(unanswered)
        if self._handler is not None and self.may_send:
            self.do(self._handler.drained())

    def overflowed(self) -> None:
        """More waits for the client than may."""
        self._give_up("too much is waiting to be read")

    def _give_up(self, reason: str) -> None:
        self.end(CloseCode.TOO_SLOW, reason, abort=True)

    def _stop_waiting(self) -> None:
        stalled, self._stalled = self._stalled, None
        if stalled is not None and stalled.active():
            stalled.cancel()

    # Whether the client is still there

    def keep_alive(self) -> None:
        """Ping a client that has been silent since the last call; drop it if it was pinged then.

        One that still has much to read would find the ping at the end of it, and is looked after otherwise; of one
        whose messages take long nothing is read, its answer neither.
        """
        if not self.may_send:
            return
        if self._handler is not None and self._stalled is None:
            # What was sent a moment before the last time is not heard until the next: that would be too long.
            self._handler.keep_alive(self.factory.settings.ping_interval / 4)
        if self._was_heard or self._stalled is not None or self.is_reading_paused:
            self._was_heard = self._was_pinged = False
        elif not self._was_pinged:
            self._was_pinged = True
            self.sendPing()
        else:
            self._give_up("no answer to a ping")

    async def recheck(self) -> None:
        """Look whether the client may still be here."""
        if self._handler is not None:
            await self._handler.recheck()
