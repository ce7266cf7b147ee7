"""What is between a socket and the protocol that is spoken on it: frames, reading no faster than can be handled."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from twisted.internet.address import UNIXAddress
from twisted.internet.task import Clock, Cooperator
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from websockets.frames import Opcode

from canvas_collab import scheduling
from canvas_collab.config.connections import WebSocketSettings
from canvas_collab.protocol.close_codes import CloseCode, ProtocolViolation
from canvas_collab.protocol.frames import encode_frame
from canvas_collab.rooms.prepared_message import PreparedMessage
from canvas_collab.scheduling import make_cooperator
from canvas_collab.websocket import inbound, receiving
from canvas_collab.websocket.inbound import MAX_UNSLICED_TIME
from canvas_collab.websocket.receiving import MAX_READ_PAUSE
from canvas_collab.websocket.server import ServerFactory
from canvas_collab.websocket.shared_limit import SharedLimit
from tests.support.frames import client_frame, handshake


class TurnClock(Clock):
    """A clock that counts turns of the reactor."""

    def turn(self) -> None:
        """Do what is due now, and not what that brings about."""
        due = [call for call in self.getDelayedCalls() if call.getTime() <= self.seconds()]
        for call in due:
            if call.active():
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> TurnClock:
    """The time by which turns are measured."""
    clock = TurnClock()
    monkeypatch.setattr(inbound, "perf_counter", clock.seconds)
    monkeypatch.setattr(scheduling, "perf_counter", clock.seconds)
    return clock


class Staged:
    """An open connection, the transport below it and the dialect above; each message takes so many steps of so many
    seconds.
    """

    def __init__(
        self,
        seconds: float = 0.0,
        act: Callable[[bytes], None] | None = None,
        clock: Clock | None = None,
        steps: int = 1,
        cooperator: Cooperator | None = None,
    ) -> None:
        self.clock = Clock() if clock is None else clock
        self.messages: list[bytes] = []
        #: What came and went, the end included.
        self.closed_after: int | None = None
        self.closed_with: list[tuple[int | None, str | None]] = []
        self._seconds = seconds
        self._steps = steps
        self._act = act
        self.transport = StringTransport(hostAddress=UNIXAddress(b"socket"))
        cooperator = cooperator or make_cooperator(self.clock)
        factory = ServerFactory(self.clock, WebSocketSettings(), None, None, cooperator)  # type: ignore[arg-type]
        factory.handler_for = lambda socket, path: self  # type: ignore[assignment, return-value]
        self.protocol = factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)
        self.protocol.dataReceived(handshake("/room"))
        self.transport.clear()

    too_large_code = CloseCode.TOO_LARGE

    async def accept_handshake(self, request: object) -> None:
        pass

    def opened(self) -> None:
        pass

    def received(self, payload: bytes) -> Iterator[None]:
        if self._act is not None:
            self._act(payload)
        for _ in range(self._steps):
            self.clock.rightNow += self._seconds
            yield
        self.messages.append(payload)

    def keep_alive(self, silence: float) -> None:
        pass

    def backpressure_ended(self) -> Iterator[None]:
        yield from ()

    def closed(self, code: int | None, reason: str | None) -> None:
        if self.closed_after is None:
            self.closed_after = len(self.messages)
        self.closed_with.append((code, reason))

    @property
    def log_context(self) -> tuple[None, None]:
        return None, None


class StagedWire:
    """A wire that tells of this progress."""

    def __init__(self, progress: Iterator[int]) -> None:
        self._progress = progress

    @property
    def buffered_bytes_sent(self) -> int:
        return next(self._progress)

    def invalidate(self) -> None:
        pass


def test_one_whose_messages_take_long_gets_turns_and_is_not_read_until_they_are_done(clock: TurnClock) -> None:
    staged = Staged(MAX_UNSLICED_TIME * 0.6, clock=clock, steps=4)
    staged.protocol.dataReceived(client_frame(b"one") + client_frame(b"two"))
    assert staged.messages == []
    assert staged.transport.producerState == "paused"
    turns = 0
    while staged.transport.producerState == "paused":
        clock.turn()
        turns += 1
    assert staged.messages == [b"one", b"two"]
    assert turns > 1


def test_one_whose_messages_are_quickly_handled_is_read_on(clock: TurnClock) -> None:
    staged = Staged(MAX_UNSLICED_TIME / 3, clock=clock)
    staged.protocol.dataReceived(client_frame(b"one") + client_frame(b"two"))
    assert len(staged.messages) == 2
    assert staged.transport.producerState == "producing"


def test_while_somebody_s_messages_take_long_everybody_else_s_are_dealt_with_at_once(clock: TurnClock) -> None:
    cooperator = make_cooperator(clock)
    busy = [Staged(0.001, clock=clock, steps=100, cooperator=cooperator) for _ in range(20)]
    for one in busy:
        one.protocol.dataReceived(client_frame(b"large"))
    other = Staged(0.0001, clock=clock, cooperator=cooperator)
    for turn in range(1, 100):
        clock.turn()
        other.protocol.dataReceived(client_frame(b"small"))
        assert len(other.messages) == turn
    assert not all(one.messages for one in busy)


def test_who_keeps_the_reactor_busy_gets_the_same_turns_as_all_who_do(clock: TurnClock) -> None:
    cooperator = make_cooperator(clock)
    large = Staged(0.001, clock=clock, steps=1000, cooperator=cooperator)
    large.protocol.dataReceived(client_frame(b"large"))
    small = Staged(0.001, clock=clock, steps=5, cooperator=cooperator)
    small.protocol.dataReceived(client_frame(b"small"))
    for _ in range(10):
        clock.turn()
    assert small.messages == [b"small"]
    assert large.messages == []


def test_pings_and_empty_fragments_take_turns_like_messages(clock: TurnClock, monkeypatch: pytest.MonkeyPatch) -> None:
    staged = Staged(clock=clock)

    def answer(payload: bytes) -> None:
        clock.rightNow += MAX_UNSLICED_TIME / 10

    monkeypatch.setattr(staged.protocol, "ping_received", answer)
    staged.protocol.dataReceived(client_frame(b"?", Opcode.PING) * 1000)
    assert staged.transport.producerState == "paused"

    fragments = Staged(clock=clock)
    feed = fragments.protocol.feed

    def slow(data: bytes) -> None:
        clock.rightNow += MAX_UNSLICED_TIME / 3
        feed(data)

    monkeypatch.setattr(fragments.protocol, "feed", slow)
    empty = client_frame(b"", Opcode.CONT, fin=False)
    fragments.protocol.dataReceived(client_frame(b"", fin=False) + empty * 1000)
    assert fragments.transport.producerState == "paused"


def test_a_message_in_more_frames_than_anybody_would_send_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "MAX_FRAGMENTS", 10)
    staged = Staged()
    empty = client_frame(b"", Opcode.CONT, fin=False)
    staged.protocol.dataReceived(client_frame(b"", fin=False) + empty * 9)
    assert staged.transport.value() == b""
    staged.protocol.dataReceived(empty)
    staged.clock.advance(WebSocketSettings().close_delay)
    assert staged.transport.value()[2:4] == b"\x11\x30"


def test_what_has_come_of_large_messages_is_bounded_and_who_has_the_most_of_it_goes(clock: TurnClock) -> None:
    limit = SharedLimit(100_000)
    greedy, modest = Staged(clock=clock), Staged(clock=clock)
    for one in (greedy, modest):
        one.protocol.factory.receive_limit = limit
    frame = client_frame(b"x" * 90_000)
    greedy.protocol.dataReceived(frame[:60_000])
    modest.protocol.dataReceived(frame[:50_000])
    assert [code for code, _ in greedy.closed_with] == [4503]
    assert modest.closed_with == []
    # What was dealt with does not count any more, nor what went with its connection.
    modest.protocol.dataReceived(frame[50_000:] + frame)
    assert modest.messages == [b"x" * 90_000] * 2
    modest.protocol.dataReceived(frame[:60_000])
    modest.protocol.connectionLost()
    other = Staged(clock=clock)
    other.protocol.factory.receive_limit = limit
    other.protocol.dataReceived(frame)
    assert other.messages == [b"x" * 90_000]


def test_messages_that_came_before_the_connection_ended_count(clock: TurnClock) -> None:
    staged = Staged(MAX_UNSLICED_TIME, clock=clock, steps=5)
    staged.protocol.dataReceived(client_frame(b"one") + client_frame(b"two") + client_frame(b"", Opcode.CLOSE))
    staged.protocol.connectionLost()
    assert staged.messages == []
    while staged.closed_after is None:
        clock.turn()
    assert staged.closed_after == 2


def test_messages_are_the_same_however_they_are_cut_and_whichever_frames_they_come_in(clock: TurnClock) -> None:
    whole = client_frame(b"small") + client_frame(b"x" * 70_000) + client_frame(b"again")
    parts = client_frame(b"in two ", fin=False) + client_frame(b"frames", Opcode.CONT) + client_frame(b"end")
    expected = [b"small", b"x" * 70_000, b"again", b"in two frames", b"end"]
    data = whole + parts
    for size in (1, 2, 7, 100, 70_010, len(data)):
        staged = Staged(clock=clock)
        for start in range(0, len(data), size):
            staged.protocol.dataReceived(data[start : start + size])
        assert staged.messages == expected


def test_one_who_reads_slowly_stays_and_one_who_reads_nothing_goes() -> None:
    staged = Staged()
    timeout = WebSocketSettings().stall_timeout
    staged.protocol.outbound.send(PreparedMessage(b"a message"))
    progress = iter([0, 1, 1, 2, 2, 2])
    staged.protocol.outbound = StagedWire(progress)
    staged.protocol.backpressure_started()
    staged.protocol.backpressure_started()
    for _ in range(2):
        staged.clock.advance(timeout)
        assert not staged.transport.disconnecting
    with capturedLogs() as events:
        staged.clock.advance(timeout)
    ended = [event["reason"] for event in events if event["log_format"] == "connection ended"]
    assert ended == ["nothing is being read"]


def test_one_who_has_much_to_read_is_not_asked_whether_they_are_there() -> None:
    staged = Staged()
    staged.protocol.backpressure_started()
    for _ in range(3):
        staged.protocol.keep_alive()
    assert staged.transport.value() == b""
    staged.protocol.backpressure_ended()
    for _ in range(2):
        staged.protocol.keep_alive()
    assert staged.transport.value()[:1] == b"\x89"
    assert not staged.transport.disconnecting


def test_one_whose_messages_take_long_is_not_cut_off_for_an_answer_that_nobody_has_read(clock: TurnClock) -> None:
    staged = Staged(MAX_UNSLICED_TIME, clock=clock, steps=5)
    staged.protocol.dataReceived(client_frame(b"one"))
    assert staged.transport.producerState == "paused"
    for _ in range(4):
        staged.protocol.keep_alive()
    assert not staged.transport.disconnecting
    assert staged.transport.value() == b""


def test_of_pings_that_came_while_nothing_was_read_the_last_one_is_answered() -> None:
    staged = Staged()
    staged.protocol.outbound.pauseProducing()
    for payload in (b"1", b"2", b"3"):
        staged.protocol.dataReceived(client_frame(payload, Opcode.PING))
    assert staged.transport.value() == b""
    staged.protocol.outbound.resumeProducing()
    assert staged.transport.value() == b"\x8a\x013"


def test_one_who_is_to_wait_for_what_they_have_sent_waits_until_it_is_there_or_for_a_second() -> None:
    waiting: list[Callable[[], None]] = []
    staged = Staged(
        act=lambda payload: staged.protocol.pause_reading_until(waiting.append) if payload == b"large" else None
    )
    staged.protocol.dataReceived(client_frame(b"large") + client_frame(b"one"))
    assert (staged.messages, staged.transport.producerState) == ([b"large"], "paused")
    waiting.pop()()
    assert (staged.messages, staged.transport.producerState) == ([b"large", b"one"], "producing")

    staged.protocol.dataReceived(client_frame(b"large") + client_frame(b"two"))
    staged.clock.advance(MAX_READ_PAUSE * 0.9)
    assert staged.messages[3:] == []
    staged.clock.advance(MAX_READ_PAUSE * 0.1)
    assert (staged.messages[3:], staged.transport.producerState) == ([b"two"], "producing")
    # Nothing comes of it when it is there after all.
    waiting.pop()()
    assert staged.transport.producerState == "producing"


def test_a_ping_between_messages_is_answered() -> None:
    staged = Staged()
    staged.protocol.dataReceived(client_frame(b"one") + client_frame(b"?", Opcode.PING) + client_frame(b"two"))
    assert staged.messages == [b"one", b"two"]
    assert staged.transport.value() == b"\x8a\x01?"


def test_a_fault_of_ours_ends_the_connection_and_is_logged_and_nothing_after_it_is_taken() -> None:
    def break_down(payload: bytes) -> None:
        raise RuntimeError("a fault")

    staged = Staged(act=break_down)
    with capturedLogs() as events:
        staged.protocol.dataReceived(client_frame(b"one") + client_frame(b"two"))
    assert staged.messages == []
    assert [event["log_format"] for event in events] == ["message not handled", "connection ended"]
    assert staged.transport.value() == b""
    staged.clock.advance(WebSocketSettings().close_delay)
    assert staged.transport.value()[:4] == b"\x88\x10\x03\xf3"


def test_one_who_offends_is_out_at_once_and_told_so_a_moment_later() -> None:
    def offend(payload: bytes) -> None:
        raise ProtocolViolation(CloseCode.MALFORMED, "malformed")

    staged = Staged(act=offend)
    staged.protocol.dataReceived(client_frame(b"one") + client_frame(b"two"))
    assert staged.closed_with == [(4400, "malformed")]
    assert staged.transport.producerState == "paused"
    # What was on its way, and what others would send.
    staged.protocol.dataReceived(client_frame(b"three") + client_frame(b"?", Opcode.PING))
    staged.protocol.outbound.send(PreparedMessage(b"a message"))
    staged.protocol.close(CloseCode.INTERNAL_ERROR, "internal error")
    staged.clock.advance(WebSocketSettings().close_delay * 0.9)
    assert (staged.messages, staged.transport.value()) == ([], b"")
    staged.clock.advance(WebSocketSettings().close_delay * 0.1)
    assert staged.transport.value()[2:4] == (4400).to_bytes(2, "big")
    assert staged.transport.producerState == "producing"
    assert staged.closed_with == [(4400, "malformed")]


def test_one_who_goes_before_they_are_told_leaves_nothing_behind() -> None:
    staged = Staged()
    staged.protocol.close(CloseCode.MALFORMED, "malformed")
    staged.protocol.connectionLost()
    staged.clock.advance(60)
    assert staged.transport.value() == b""
    assert staged.clock.getDelayedCalls() == []


def test_a_restart_is_told_at_once() -> None:
    staged = Staged()
    staged.protocol.close_now(CloseCode.SERVICE_RESTART, "the server restarts")
    assert staged.transport.value()[2:4] == (1012).to_bytes(2, "big")


@pytest.mark.parametrize("frame", [encode_frame(b"not masked"), b"\xc2\x80\x00\x00\x00\x00"])
def test_what_the_protocol_forbids_ends_the_connection(frame: bytes) -> None:
    staged = Staged()
    staged.protocol.dataReceived(client_frame(b"one") + frame + client_frame(b"two"))
    assert staged.messages == [b"one"]
    # 1002, a protocol error.
    assert staged.transport.value()[2:4] == b"\x03\xea"
