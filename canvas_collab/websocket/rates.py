"""Slowing a client down that sends more than it may, by reading from it more slowly."""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol

from canvas_collab.config.limits import RateLimits
from canvas_collab.limits.slow_time import SlowTime
from canvas_collab.limits.token_bucket import TokenBucket

#: For how long a client that has used up what it may send is not read, in seconds.
PAUSE = 0.25


class SlowedSocket(Protocol):
    """What a :class:`RateLimiter` needs of its WebSocket."""

    @property
    def is_discarding(self) -> bool:
        """Whether messages are discarded from now on, and only the closing handshake is still read."""

    def pause_handling(self) -> None:
        """Read and handle nothing until :meth:`resume_handling` is called."""

    def resume_handling(self) -> None:
        """Read and handle messages again."""

    def slowed(self, reason: str) -> None:
        """Called when the client begins to send too much."""

    def rate_exceeded(self, reason: str) -> None:
        """Close the connection: the client has sent too much for too long."""


class RateLimiter:
    """Limits how many messages and bytes one client may send in a second.

    A client over a limit is read more slowly, so that nothing of it is lost; only one that goes on for long is closed.
    """

    __slots__ = ("_exceeded", "_is_paused", "_limits", "_reactor", "_slow_time", "_socket", "bytes", "messages")

    def __init__(self, reactor: Any, socket: SlowedSocket, limits: RateLimits, exceeded: Counter[str]) -> None:
        """:param exceeded: counts how often clients were slowed down, by the names of the settings."""
        now = reactor.seconds()
        self._reactor = reactor
        self._socket = socket
        self._limits = limits
        self._exceeded = exceeded
        self._slow_time = SlowTime(limits.patience)
        self._is_paused = False
        #: What may be sent now.  Whoever counts a message or bytes subtracts them, and calls a method below when
        #: nothing is left.
        self.messages = TokenBucket(limits.max_messages, limits.burst, now)
        self.bytes = TokenBucket(limits.max_bytes, limits.burst, now)

    def messages_used_up(self) -> bool:
        """Called when no message is left; return whether the client is over the limit, and was paused."""
        self.messages.refill(self._reactor.seconds())
        if self.messages.left >= 1 or self._socket.is_discarding:
            return False
        self._slow_down("MAX_MESSAGES_PER_SECOND", f"more than {self._limits.max_messages} messages a second")
        return True

    def bytes_used_up(self) -> None:
        """Called when more bytes were received than were left."""
        self.bytes.refill(self._reactor.seconds())
        if self.bytes.left < 0 and not self._socket.is_discarding:
            self._slow_down("MAX_BYTES_PER_SECOND", f"more than {self._limits.max_bytes} bytes a second")

    def _slow_down(self, setting: str, reason: str) -> None:
        if self._is_paused:
            return
        self._exceeded[setting] += 1
        if self._slow_time.begin(self._reactor.seconds()):
            self._socket.slowed(f"{reason} ({setting})")
        if self._slow_time.is_over:
            self._socket.rate_exceeded(reason)
            return
        self._is_paused = True
        self._socket.pause_handling()
        pause = max(PAUSE, self.bytes.seconds_until(0))
        self._slow_time.add(pause)
        self._reactor.callLater(pause, self._resume)

    def _resume(self) -> None:
        self._is_paused = False
        self._socket.resume_handling()
