"""Large answers on one socket: what is on its way, in which order, and how fast the line is found to be."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.internet.task import Clock

from canvas_collab.protocol.frames import encode_frame, encode_ping
from canvas_collab.protocol.steps import Steps, run_to_completion
from canvas_collab.rooms.channel import Messages
from canvas_collab.rooms.prepared_message import PreparedMessage
from canvas_collab.websocket.paced_sending import NO_PONG_TIME, PacedSender

SIZE = 1000


class Answer:
    """An answer of messages with a letter."""

    def __init__(self, letter: bytes, count: int) -> None:
        self.rate: float | None = None
        #: What the rate was when each message was made.
        self.rates: list[float | None] = []
        self._messages = [PreparedMessage(letter * SIZE)] * count

    def messages(self) -> Messages:
        for message in self._messages:
            yield None
            self.rates.append(self.rate)
            yield message


class FakeSocket:
    """A socket that records what is sent, and runs steps at once."""

    may_send = True
    has_backpressure = False

    def __init__(self) -> None:
        #: The letters of the messages, and the payloads of the pings that are not answered.
        self.letters = ""
        self.pings: list[bytes] = []
        self.clock = Clock()
        self.sender = PacedSender(self.clock, self)  # type: ignore[arg-type]

    @property
    def outbound(self) -> FakeSocket:
        return self

    def send_frame(self, frame: bytes) -> None:
        if frame[0] == 0x82:
            self.letters += frame[-1:].decode()
        else:
            self.pings.append(frame[2:])
            assert encode_ping(frame[2:]) == frame

    def schedule(self, steps: Steps[None]) -> None:
        run_to_completion(steps)

    def answer_ping(self) -> None:
        self.sender.pong_received(self.pings.pop(0))


@pytest.fixture
def socket() -> Iterator[FakeSocket]:
    socket = FakeSocket()
    yield socket
    socket.sender.stop()
    assert socket.clock.getDelayedCalls() == []


def test_one_message_is_sent_and_the_next_two_after_its_pong(socket: FakeSocket) -> None:
    answer = Answer(b"a", 4)
    socket.sender.add(answer, b"")
    assert socket.letters == "a"
    socket.clock.advance(2)
    socket.answer_ping()
    assert socket.letters == "aaa"
    assert answer.rates[0] is None
    assert answer.rates[1] == pytest.approx(SIZE / 2, rel=0.01)
    socket.clock.advance(2)
    socket.answer_ping()
    assert socket.letters == "aaaa"


def test_a_fast_line_has_more_on_its_way(socket: FakeSocket) -> None:
    socket.sender.add(Answer(b"a", 100), b"")
    socket.clock.advance(0.05)
    socket.answer_ping()
    # 20,000 bytes a second, and half a second and a round trip of 50 ms of that.
    assert len(socket.letters) == 1 + 11


def test_answers_on_one_socket_take_turns(socket: FakeSocket) -> None:
    socket.sender.add(Answer(b"a", 3), b"")
    socket.sender.add(Answer(b"b", 3), b"prefix")
    while socket.pings:
        socket.clock.advance(1)
        socket.answer_ping()
    assert socket.letters == "aababb"


def test_nothing_is_sent_under_backpressure_until_it_ends(socket: FakeSocket) -> None:
    socket.sender.add(Answer(b"a", 3), b"")
    socket.has_backpressure = True
    socket.clock.advance(1)
    socket.answer_ping()
    assert socket.letters == "a"
    socket.has_backpressure = False
    socket.sender.resume()
    assert socket.letters == "aaa"


def test_a_client_that_answers_no_ping_is_sent_a_message_from_time_to_time(socket: FakeSocket) -> None:
    socket.sender.add(Answer(b"a", 3), b"")
    socket.clock.advance(NO_PONG_TIME)
    assert socket.letters == "aa"
    socket.clock.advance(NO_PONG_TIME)
    assert socket.letters == "aaa"


def test_a_pong_that_answers_no_ping_is_ignored_and_one_answers_all_before_it(socket: FakeSocket) -> None:
    socket.sender.add(Answer(b"a", 6), b"")
    socket.sender.pong_received(b"?")
    assert socket.letters == "a"
    socket.clock.advance(1)
    socket.answer_ping()
    assert socket.letters == "aaa"
    socket.clock.advance(4)
    socket.sender.pong_received(socket.pings[1])
    assert socket.letters == "aaaaa"


def test_frames_of_small_messages_are_not_kept(socket: FakeSocket) -> None:
    answer = Answer(b"a", 1)
    socket.sender.add(answer, b"prefix")
    assert next(message for message in answer.messages() if message).frames == {}
    assert encode_frame(b"") == b"\x82\x00"
