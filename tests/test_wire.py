"""Sending to a socket at once."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from twisted.internet import tcp

from canvas_collab.wire import Wire


class StagedTransport(tcp.Server):
    """A plain transport of Twisted's that notes what it is left with."""

    def __init__(self, ours: socket.socket) -> None:
        self.socket = ours
        self.connected = 1
        self.disconnecting = False
        self.dataBuffer = b""
        self._tempDataBuffer: list[bytes] = []
        self.left: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.left.append(data)


@pytest.fixture
def sockets() -> Any:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def wire_of(transport: StagedTransport) -> Wire:
    wire = Wire(transport)
    # The staged transport is of a class of its own.
    wire._socket = transport.socket
    return wire


def test_an_idle_socket_gets_the_bytes_at_once(sockets: Any) -> None:
    ours, theirs = sockets
    transport = StagedTransport(ours)
    wire_of(transport).write(b"hello")
    assert theirs.recv(100) == b"hello"
    assert transport.left == []


def test_what_a_socket_does_not_take_is_left_to_the_transport_and_nothing_overtakes_it(sockets: Any) -> None:
    ours, theirs = sockets
    transport = StagedTransport(ours)
    wire = wire_of(transport)
    large = bytes(range(256)) * 2**14
    wire.write(large)
    [rest] = transport.left
    transport._tempDataBuffer.append(rest)
    wire.write(b"after")
    assert transport.left[1:] == [b"after"]
    received = b""
    while len(received) < len(large) - len(rest):
        received += theirs.recv(2**20)
    assert received + rest == large
    theirs.setblocking(False)
    with pytest.raises(BlockingIOError):
        theirs.recv(1)


@pytest.mark.parametrize("state", [{"connected": 0}, {"disconnecting": True}, {"dataBuffer": b"x"}])
def test_a_transport_that_is_busy_or_ends_gets_everything_itself(sockets: Any, state: dict[str, Any]) -> None:
    ours, _ = sockets
    transport = StagedTransport(ours)
    vars(transport).update(state)
    wire_of(transport).write(b"hello")
    assert transport.left == [b"hello"]


def test_a_socket_that_has_gone_is_the_transports_business(sockets: Any) -> None:
    ours, _ = sockets
    transport = StagedTransport(ours)
    wire = wire_of(transport)
    ours.close()
    wire.write(b"hello")
    assert transport.left == [b"hello"]


def test_only_a_plain_socket_is_sent_to_past_the_transport() -> None:
    class Encrypting:
        def __init__(self) -> None:
            self.left: list[bytes] = []

        def write(self, data: bytes) -> None:
            self.left.append(data)

    transport = Encrypting()
    Wire(transport).write(b"hello")
    assert transport.left == [b"hello"]
