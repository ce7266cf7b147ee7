"""Writing to a client's socket: directly where possible, and with backpressure."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from attrs import define, field
from twisted.internet import tcp

from canvas_collab.rooms.prepared_message import PreparedMessage
from canvas_collab.websocket.outbound import MESSAGE_OVERHEAD, OutboundTransport

LIMIT = 1000


class BufferingTransport(tcp.Server):
    """A plain transport of Twisted's that never sends what it buffers."""

    def __init__(self, server_end: socket.socket) -> None:
        self.socket = server_end
        self.connected = 1
        self.disconnecting = False
        self.dataBuffer = b""
        self.offset = 0
        self._tempDataBuffer: list[bytes] = []

    def write(self, data: bytes) -> None:
        self._tempDataBuffer.append(data)


@define
class RecordingSocket:
    """The WebSocket of an outbound transport; `events` are the names of what it was told."""

    may_send: bool = True
    events: list[str] = field(factory=list)

    def backpressure_started(self) -> None:
        self.events.append("backpressure started")

    def backpressure_ended(self) -> None:
        self.events.append("backpressure ended")

    def backlog_exceeded(self) -> None:
        self.events.append("backlog exceeded")


class SocketPair:
    """An outbound transport on one end of a connection, and the client's end."""

    def __init__(self, server_end: socket.socket, client_end: socket.socket) -> None:
        self.server_end, self.client_end = server_end, client_end
        self.transport = BufferingTransport(server_end)
        self.websocket = RecordingSocket()
        self.outbound = OutboundTransport(self.transport, self.websocket, LIMIT)

    @property
    def buffered(self) -> list[bytes]:
        """What was passed to the transport's buffer."""
        return self.transport._tempDataBuffer

    def read(self) -> bytes:
        """Read what has arrived at the client's end."""
        received = b""
        try:
            while True:
                received += self.client_end.recv(2**20)
        except BlockingIOError:
            return received


@pytest.fixture
def connection() -> Iterator[SocketPair]:
    server_end, client_end = socket.socketpair()
    server_end.setblocking(False)
    client_end.setblocking(False)
    with server_end, client_end:
        yield SocketPair(server_end, client_end)


HELLO = PreparedMessage(b"hello")
AFTER = PreparedMessage(b"after")


def test_messages_are_written_directly_to_an_idle_socket(connection: SocketPair) -> None:
    assert connection.outbound.offer(HELLO)
    assert connection.outbound.offer(AFTER)
    connection.outbound.send(HELLO, b"with this in front: ")
    assert connection.read() == HELLO.frame() + AFTER.frame() + HELLO.frame(b"with this in front: ")
    assert connection.buffered == []


def test_a_frame_is_made_once_for_all_recipients_of_a_message() -> None:
    message = PreparedMessage(b"hello")
    assert message.frame(b"a") is message.frame(b"a")
    assert message.frame(b"a") != message.frame(b"b")


def test_what_a_socket_does_not_accept_is_buffered_and_later_messages_after_it(connection: SocketPair) -> None:
    large = PreparedMessage(bytes(range(256)) * 2**14)
    assert connection.outbound.offer(large)
    [rest] = connection.buffered
    assert connection.outbound.offer(AFTER)
    connection.outbound.send(HELLO)
    assert connection.buffered[1:] == [AFTER.frame(), HELLO.frame()]
    assert connection.read() + rest == large.frame()
    assert connection.read() == b""


def test_messages_are_written_directly_again_when_the_buffer_is_empty(connection: SocketPair) -> None:
    connection.outbound.offer(PreparedMessage(bytes(2**22)))
    connection.read()
    connection.buffered.clear()
    connection.outbound.offer(HELLO)
    assert connection.read() == HELLO.frame()


def test_a_message_is_sent_after_what_was_written_to_the_transport_by_other_means(connection: SocketPair) -> None:
    connection.outbound.offer(HELLO)
    connection.transport.write(b"a ping")
    connection.outbound.invalidate()
    connection.outbound.offer(AFTER)
    assert connection.read() == HELLO.frame()
    assert connection.buffered == [b"a ping", AFTER.frame()]


@pytest.mark.parametrize("state", [{"connected": 0}, {"disconnecting": True}, {"dataBuffer": b"x"}])
def test_messages_are_buffered_while_the_transport_is_busy_or_disconnecting(
    connection: SocketPair, state: dict[str, object]
) -> None:
    vars(connection.transport).update(state)
    connection.outbound.offer(HELLO)
    assert connection.buffered == [HELLO.frame()]


def test_a_message_for_a_closed_socket_is_left_to_the_transport(connection: SocketPair) -> None:
    connection.server_end.close()
    connection.outbound.offer(HELLO)
    assert connection.buffered == [HELLO.frame()]


def test_messages_are_written_to_the_transport_if_it_is_encrypted() -> None:
    class EncryptedTransport:
        def __init__(self) -> None:
            self.written: list[bytes] = []

        def write(self, data: bytes) -> None:
            self.written.append(data)

    transport = EncryptedTransport()
    OutboundTransport(transport, RecordingSocket(), LIMIT).offer(HELLO)
    assert transport.written == [HELLO.frame()]


def test_nothing_is_sent_on_a_connection_that_is_closing(connection: SocketPair) -> None:
    connection.websocket.may_send = False
    assert connection.outbound.offer(HELLO)
    connection.outbound.send(HELLO)
    connection.outbound.pauseProducing()
    assert connection.outbound.offer(HELLO)
    connection.outbound.send(HELLO)
    assert connection.read() == b""
    assert connection.buffered == []


def test_offered_messages_are_dropped_until_the_client_reads(connection: SocketPair) -> None:
    # A large message, of which a part has to wait.
    connection.outbound.offer(PreparedMessage(bytes(2**22)))
    connection.outbound.pauseProducing()
    waiting = len(connection.buffered)
    assert not connection.outbound.offer(HELLO)
    assert len(connection.buffered) == waiting
    connection.read()
    connection.buffered.clear()
    connection.outbound.resumeProducing()
    assert connection.outbound.offer(HELLO)
    assert connection.read() == HELLO.frame()
    assert connection.websocket.events == ["backpressure started", "backpressure ended"]


def test_sent_messages_are_buffered_up_to_a_limit_while_the_client_does_not_read(connection: SocketPair) -> None:
    half = PreparedMessage(bytes(LIMIT // 2 - MESSAGE_OVERHEAD - 4))
    connection.outbound.offer(PreparedMessage(bytes(2**22)))
    connection.outbound.pauseProducing()
    connection.outbound.send(half)
    connection.outbound.send(half)
    assert connection.websocket.events == ["backpressure started"]
    assert connection.buffered[1:] == [half.frame(), half.frame()]
    connection.outbound.send(AFTER)
    assert connection.websocket.events == ["backpressure started", "backlog exceeded"]


def test_reserved_bytes_count_towards_the_limit_with_an_overhead_for_each_message(
    connection: SocketPair,
) -> None:
    connection.outbound.pauseProducing()
    many = LIMIT // (MESSAGE_OVERHEAD + 1)
    assert [connection.outbound.reserve(1) for _ in range(many)] == [True] * many
    assert connection.websocket.events == ["backpressure started"]
    assert not connection.outbound.reserve(1)
    assert connection.websocket.events == ["backpressure started", "backlog exceeded"]


def test_bytes_count_as_sent_when_they_have_left_the_buffer(connection: SocketPair) -> None:
    connection.outbound.offer(PreparedMessage(bytes(2**22)))
    before = connection.outbound.buffered_bytes_sent
    connection.outbound.pauseProducing()
    connection.outbound.send(HELLO)
    assert connection.outbound.buffered_bytes_sent == before
    [rest, hello] = connection.buffered
    # The transport has sent a part of the first, and has the second to come.
    connection.transport.dataBuffer, connection.transport.offset = rest, 1000
    connection.buffered[:] = [hello]
    assert connection.outbound.buffered_bytes_sent == before + 1000
    connection.transport.dataBuffer, connection.transport.offset = hello, 2
    connection.buffered.clear()
    assert connection.outbound.buffered_bytes_sent == before + len(rest) + 2


def test_what_the_client_has_read_does_not_count_towards_the_limit(connection: SocketPair) -> None:
    half = PreparedMessage(bytes(LIMIT // 2 - MESSAGE_OVERHEAD - 4))
    for _ in range(3):
        connection.outbound.pauseProducing()
        connection.outbound.send(half)
        connection.outbound.send(half)
        connection.outbound.resumeProducing()
    assert "backlog exceeded" not in connection.websocket.events
