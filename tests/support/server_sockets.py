"""WebSockets of the server in memory: after their handshake, with a protocol handler that records what it is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.task import Clock, Cooperator
from twisted.internet.testing import StringTransport

from canvas_collab.access.authorization import Request
from canvas_collab.config.connections import WebSocketSettings
from canvas_collab.config.limits import AddressLimits, RateLimits
from canvas_collab.counters import Counters
from canvas_collab.protocol.close_codes import CloseCode
from canvas_collab.protocol.steps import Steps
from canvas_collab.rooms.connection import Connection
from canvas_collab.scheduling import make_cooperator
from canvas_collab.websocket.admission import Admission
from canvas_collab.websocket.rates import RateLimiter
from canvas_collab.websocket.server import ServerFactory
from canvas_collab.websocket.server_protocol import ServerProtocol
from tests.support.frames import handshake

#: What a message begins with that :class:`RecordingHandler` handles at once, as one step.
AT_ONCE = b"at once"

UNLIMITED = RateLimits(max_messages=0, max_bytes=0)


class IterationClock(Clock):
    """A clock that runs single iterations of the reactor."""

    def run_iteration(self) -> None:
        """Run the calls that are due now, and not those that they schedule."""
        for call in [call for call in self.calls if call.getTime() <= self.seconds()]:
            if call.active():
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)


class RecordingHandler:
    """A protocol handler that records messages, and takes some time for each."""

    too_large_code = CloseCode.TOO_LARGE
    log_context = (None, None)
    connections: Sequence[Connection] = ()

    def __init__(self, clock: Clock, act: Callable[[bytes], None] | None, steps: int, step_time: float) -> None:
        #: The messages that were handled.
        self.messages: list[bytes] = []
        #: The code and reason of each call of closed(), and how many messages were handled before the first.
        self.closed_with: list[tuple[int | None, str | None]] = []
        self.closed_after: int | None = None
        self._clock = clock
        self._act = act
        self._steps = steps
        self._step_time = step_time

    async def accept_handshake(self, request: Request) -> None:
        pass

    def opened(self) -> None:
        pass

    def received(self, payload: bytes) -> Steps[None]:
        if self._act is not None:
            self._act(payload)
        for _ in range(self._steps):
            self._clock.rightNow += self._step_time
            yield
        self.messages.append(payload)

    def received_small(self, payload: bytes) -> bool:
        if not payload.startswith(AT_ONCE):
            return False
        if self._act is not None:
            self._act(payload)
        self._clock.rightNow += self._step_time
        self.messages.append(payload)
        return True

    def backpressure_ended(self) -> Steps[None]:
        yield from ()

    def keep_alive(self, max_idle: float) -> None:
        pass

    def closed(self, code: int | None, reason: str | None) -> None:
        if self.closed_after is None:
            self.closed_after = len(self.messages)
        self.closed_with.append((code, reason))


class OpenSocket:
    """A WebSocket after its handshake, on a transport in memory."""

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        act: Callable[[bytes], None] | None = None,
        steps: int = 1,
        step_time: float = 0.0,
        cooperator: Cooperator | None = None,
        rates: RateLimits = UNLIMITED,
        peer: IPv4Address | IPv6Address | None = None,
    ) -> None:
        """:param act: called with each message.
        :param steps: how many steps a message takes, of `step_time` seconds each.
        :param cooperator: shared with other sockets.
        :param rates: how fast the client may send.
        :param peer: the client's address.
        """
        self.clock = Clock() if clock is None else clock
        self.handler = RecordingHandler(self.clock, act, steps, step_time)
        #: How often limits were exceeded, by the names of their settings.
        self.exceeded: Counter[str] = Counter()
        self.transport = StringTransport(hostAddress=UNIXAddress(b"socket"), peerAddress=peer)
        factory = ServerFactory(
            self.clock,
            WebSocketSettings(),
            None,  # type: ignore[arg-type]
            lambda socket, path: self.handler,
            cooperator or make_cooperator(self.clock),
            Counters(),
            Admission(self.clock, WebSocketSettings(), AddressLimits(), Counter()),
            lambda socket: RateLimiter(self.clock, socket, rates, self.exceeded),
        )
        protocol = factory.buildProtocol(None)
        assert isinstance(protocol, ServerProtocol)
        self.protocol: ServerProtocol = protocol
        self.protocol.makeConnection(self.transport)
        self.receive(handshake("/room"))
        self.transport.clear()

    @property
    def messages(self) -> list[bytes]:
        """The messages that were handled."""
        return self.handler.messages

    @property
    def sent(self) -> bytes:
        """What was sent to the client after the handshake."""
        return bytes(self.transport.value())

    @property
    def is_reading(self) -> bool:
        """Whether the server reads from the socket."""
        return self.transport.producerState == "producing"

    def receive(self, data: bytes) -> None:
        """Have the server receive bytes."""
        self.protocol.dataReceived(data)
