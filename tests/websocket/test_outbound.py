"""What leads to a client: sending at once, and what happens when it does not read."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from attrs import define, field
from twisted.internet import tcp

from canvas_collab.rooms.prepared_message import PreparedMessage
from canvas_collab.websocket.outbound import MESSAGE_OVERHEAD, OutboundTransport

LIMIT = 1000


class StagedTransport(tcp.Server):
    """A plain transport of Twisted's that notes what it is left with."""

    def __init__(self, ours: socket.socket) -> None:
        self.socket = ours
        self.connected = 1
        self.disconnecting = False
        self.dataBuffer = b""
        self.offset = 0
        self._tempDataBuffer: list[bytes] = []

    def write(self, data: bytes) -> None:
        self._tempDataBuffer.append(data)


@define
class StagedOwner:
    """Whoever the wire belongs to; `told` is what the wire has told it."""

    may_send: bool = True
    told: list[str] = field(factory=list)

    def backpressure_started(self) -> None:
        self.told.append("backpressure started")

    def backpressure_ended(self) -> None:
        self.told.append("backpressure ended")

    def backlog_exceeded(self) -> None:
        self.told.append("backlog exceeded")


class Stage:
    """A wire on one end of a connection, and the other end."""

    def __init__(self, ours: socket.socket, theirs: socket.socket) -> None:
        self.ours, self.theirs = ours, theirs
        self.transport = StagedTransport(ours)
        self.owner = StagedOwner()
        self.outbound = OutboundTransport(self.transport, self.owner, LIMIT)

    @property
    def left(self) -> list[bytes]:
        """What was left to the transport."""
        return self.transport._tempDataBuffer

    def arrived(self) -> bytes:
        """What can be read at the other end."""
        received = b""
        try:
            while True:
                received += self.theirs.recv(2**20)
        except BlockingIOError:
            return received


@pytest.fixture
def stage() -> Iterator[Stage]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with ours, theirs:
        yield Stage(ours, theirs)


HELLO = PreparedMessage(b"hello")
AFTER = PreparedMessage(b"after")


def test_an_idle_socket_gets_messages_at_once(stage: Stage) -> None:
    assert stage.outbound.offer(HELLO)
    assert stage.outbound.offer(AFTER)
    stage.outbound.send(HELLO, b"with this in front: ")
    assert stage.arrived() == HELLO.frame() + AFTER.frame() + HELLO.frame(b"with this in front: ")
    assert stage.left == []


def test_a_frame_is_made_once_for_all_who_get_the_same() -> None:
    message = PreparedMessage(b"hello")
    assert message.frame(b"a") is message.frame(b"a")
    assert message.frame(b"a") != message.frame(b"b")


def test_what_a_socket_does_not_take_is_left_to_the_transport_and_nothing_overtakes_it(stage: Stage) -> None:
    large = PreparedMessage(bytes(range(256)) * 2**14)
    assert stage.outbound.offer(large)
    [rest] = stage.left
    assert stage.outbound.offer(AFTER)
    stage.outbound.send(HELLO)
    assert stage.left[1:] == [AFTER.frame(), HELLO.frame()]
    assert stage.arrived() + rest == large.frame()
    assert stage.arrived() == b""


def test_when_the_transport_has_sent_everything_messages_go_directly_again(stage: Stage) -> None:
    stage.outbound.offer(PreparedMessage(bytes(2**22)))
    stage.arrived()
    stage.left.clear()
    stage.outbound.offer(HELLO)
    assert stage.arrived() == HELLO.frame()


def test_nothing_overtakes_what_was_written_past_the_wire(stage: Stage) -> None:
    stage.outbound.offer(HELLO)
    stage.transport.write(b"a ping")
    stage.outbound.invalidate()
    stage.outbound.offer(AFTER)
    assert stage.arrived() == HELLO.frame()
    assert stage.left == [b"a ping", AFTER.frame()]


@pytest.mark.parametrize("state", [{"connected": 0}, {"disconnecting": True}, {"dataBuffer": b"x"}])
def test_a_transport_that_is_busy_or_ends_gets_everything_itself(stage: Stage, state: dict[str, object]) -> None:
    vars(stage.transport).update(state)
    stage.outbound.offer(HELLO)
    assert stage.left == [HELLO.frame()]


def test_a_socket_that_has_gone_is_the_transports_business(stage: Stage) -> None:
    stage.ours.close()
    stage.outbound.offer(HELLO)
    assert stage.left == [HELLO.frame()]


def test_only_a_plain_socket_is_sent_to_past_the_transport() -> None:
    class Encrypting:
        def __init__(self) -> None:
            self.left: list[bytes] = []

        def write(self, data: bytes) -> None:
            self.left.append(data)

    transport = Encrypting()
    OutboundTransport(transport, StagedOwner(), LIMIT).offer(HELLO)
    assert transport.left == [HELLO.frame()]


def test_nothing_is_sent_on_a_connection_that_is_closing(stage: Stage) -> None:
    stage.owner.may_send = False
    assert stage.outbound.offer(HELLO)
    stage.outbound.send(HELLO)
    stage.outbound.pauseProducing()
    assert stage.outbound.offer(HELLO)
    stage.outbound.send(HELLO)
    assert stage.arrived() == b""
    assert stage.left == []


def test_one_who_does_not_read_is_offered_nothing_until_they_do(stage: Stage) -> None:
    # A large message, of which a part has to wait.
    stage.outbound.offer(PreparedMessage(bytes(2**22)))
    stage.outbound.pauseProducing()
    waiting = len(stage.left)
    assert not stage.outbound.offer(HELLO)
    assert len(stage.left) == waiting
    stage.arrived()
    stage.left.clear()
    stage.outbound.resumeProducing()
    assert stage.outbound.offer(HELLO)
    assert stage.arrived() == HELLO.frame()
    assert stage.owner.told == ["backpressure started", "backpressure ended"]


def test_answers_wait_for_one_who_does_not_read_up_to_a_limit(stage: Stage) -> None:
    half = PreparedMessage(bytes(LIMIT // 2 - MESSAGE_OVERHEAD - 4))
    stage.outbound.offer(PreparedMessage(bytes(2**22)))
    stage.outbound.pauseProducing()
    stage.outbound.send(half)
    stage.outbound.send(half)
    assert stage.owner.told == ["backpressure started"]
    assert stage.left[1:] == [half.frame(), half.frame()]
    stage.outbound.send(AFTER)
    assert stage.owner.told == ["backpressure started", "backlog exceeded"]


def test_what_is_written_past_the_wire_counts_as_well_and_the_smallest_answers_count_for_what_they_take(
    stage: Stage,
) -> None:
    stage.outbound.pauseProducing()
    many = LIMIT // (MESSAGE_OVERHEAD + 1)
    assert [stage.outbound.reserve(1) for _ in range(many)] == [True] * many
    assert stage.owner.told == ["backpressure started"]
    assert not stage.outbound.reserve(1)
    assert stage.owner.told == ["backpressure started", "backlog exceeded"]


def test_progress_is_what_has_gone_of_what_had_to_wait(stage: Stage) -> None:
    stage.outbound.offer(PreparedMessage(bytes(2**22)))
    before = stage.outbound.buffered_bytes_sent
    stage.outbound.pauseProducing()
    stage.outbound.send(HELLO)
    assert stage.outbound.buffered_bytes_sent == before
    [rest, hello] = stage.left
    # The transport has sent a part of the first, and has the second to come.
    stage.transport.dataBuffer, stage.transport.offset = rest, 1000
    stage.left[:] = [hello]
    assert stage.outbound.buffered_bytes_sent == before + 1000
    stage.transport.dataBuffer, stage.transport.offset = hello, 2
    stage.left.clear()
    assert stage.outbound.buffered_bytes_sent == before + len(rest) + 2


def test_what_was_read_does_not_count_towards_the_limit(stage: Stage) -> None:
    half = PreparedMessage(bytes(LIMIT // 2 - MESSAGE_OVERHEAD - 4))
    for _ in range(3):
        stage.outbound.pauseProducing()
        stage.outbound.send(half)
        stage.outbound.send(half)
        stage.outbound.resumeProducing()
    assert "backlog exceeded" not in stage.owner.told
