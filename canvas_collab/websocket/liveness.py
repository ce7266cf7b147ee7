"""Detecting clients that no longer respond: those that do not answer a ping, and those that do not read."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall

from canvas_collab.websocket.outbound import OutboundTransport


class MonitoredSocket(Protocol):
    """What :class:`Liveness` needs of a WebSocket."""

    #: Whether something was received since this was last set to False.
    was_heard: bool
    outbound: OutboundTransport

    @property
    def is_reading_paused(self) -> bool:
        """Whether nothing is read from the socket."""

    def sendPing(self) -> None:
        """Send a ping frame."""

    def abort_unresponsive(self, reason: str) -> None:
        """Drop the connection, since the client does not respond."""


class Liveness:
    """Watches one client: whether it answers pings, or reads while it has backpressure."""

    __slots__ = ("_reactor", "_socket", "_stall_timeout", "_stall_timer", "_was_pinged")

    def __init__(self, reactor: Any, socket: MonitoredSocket, stall_timeout: float) -> None:
        """:param stall_timeout: how many seconds a client with backpressure may read nothing."""
        self._reactor = reactor
        self._socket = socket
        self._stall_timeout = stall_timeout
        # Active while the client has backpressure.
        self._stall_timer: IDelayedCall | None = None
        self._was_pinged = False

    @property
    def has_backpressure(self) -> bool:
        """Whether the client reads more slowly than it is sent to."""
        return self._stall_timer is not None

    def backpressure_started(self) -> None:
        """Abort the connection when the client reads nothing for `stall_timeout` seconds."""
        if self._stall_timer is None:
            self._start_stall_timer()

    def backpressure_ended(self) -> None:
        """Called when the client has read everything that was buffered."""
        self._socket.was_heard = True
        self.stop()

    def stop(self) -> None:
        """Stop the timer."""
        timer, self._stall_timer = self._stall_timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _start_stall_timer(self) -> None:
        sent = self._socket.outbound.buffered_bytes_sent
        self._stall_timer = self._reactor.callLater(self._stall_timeout, self._check_progress, sent)

    def _check_progress(self, sent_before: int) -> None:
        if self._socket.outbound.buffered_bytes_sent > sent_before:
            self._start_stall_timer()
        else:
            self._socket.abort_unresponsive("nothing is being read")

    def check(self) -> None:
        """Ping the client if nothing was received since the last call; abort if it was already pinged then.

        A client with backpressure is not pinged: the ping would be the last thing that it reads, and the stall timer
        watches it.  Neither is one whose messages take long to handle: nothing is read from it, nor would its pong be.
        """
        socket = self._socket
        if socket.was_heard or self.has_backpressure or socket.is_reading_paused:
            socket.was_heard = self._was_pinged = False
        elif not self._was_pinged:
            self._was_pinged = True
            socket.sendPing()
        else:
            socket.abort_unresponsive("no answer to a ping")
