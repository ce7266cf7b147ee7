"""Limits on what is received, and pausing to read."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from websockets.frames import Opcode

from canvas_collab.config.connections import WebSocketSettings
from canvas_collab.limits.addresses import network_of
from canvas_collab.websocket import receiving
from canvas_collab.websocket.receiving import MAX_READ_PAUSE
from canvas_collab.websocket.shared_limit import SharedLimit
from tests.support.frames import client_frame
from tests.support.server_sockets import IterationClock, OpenSocket


@pytest.mark.parametrize(
    ("peer", "text", "network"),
    [
        (IPv4Address("TCP", "192.0.2.1", 50000), "192.0.2.1:50000", "192.0.2.1"),
        (IPv6Address("TCP", "2001:db8::1", 50000), "[2001:db8::1]:50000", "2001:db8::/64"),
        (IPv6Address("TCP", "2001:db8:1:2:3:4:5:6", 443), "[2001:db8:1:2:3:4:5:6]:443", "2001:db8:1:2::/64"),
        # An IPv4 client of a socket that listens on both.
        (IPv6Address("TCP", "::ffff:192.0.2.1", 50000), "[::ffff:192.0.2.1]:50000", "192.0.2.1"),
    ],
)
def test_the_address_of_a_client_without_its_port_is_what_its_limits_count(
    peer: IPv4Address | IPv6Address, text: str, network: str
) -> None:
    address = OpenSocket(peer=peer).protocol.client_address
    assert address == text
    assert network_of(address) == network


def test_a_message_in_too_many_frames_closes_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "MAX_FRAGMENTS", 10)
    client = OpenSocket()
    empty = client_frame(b"", Opcode.CONT, fin=False)
    client.receive(client_frame(b"", fin=False) + empty * 9)
    assert client.sent == b""
    client.receive(empty)
    client.clock.advance(WebSocketSettings().close_delay)
    assert client.sent[2:4] == b"\x11\x30"


def test_received_data_of_large_messages_is_bounded_and_the_socket_with_the_most_is_closed(
    clock: IterationClock,
) -> None:
    limit = SharedLimit(100_000)
    greedy, modest = OpenSocket(clock), OpenSocket(clock)
    for client in (greedy, modest):
        client.protocol.factory.receive_limit = limit
    frame = client_frame(b"x" * 90_000)
    greedy.receive(frame[:60_000])
    modest.receive(frame[:50_000])
    assert [code for code, _ in greedy.handler.closed_with] == [4503]
    assert modest.handler.closed_with == []
    # Neither handled messages count any more, nor the data of lost connections.
    modest.receive(frame[50_000:] + frame)
    assert modest.messages == [b"x" * 90_000] * 2
    modest.receive(frame[:60_000])
    modest.protocol.connectionLost()
    other = OpenSocket(clock)
    other.protocol.factory.receive_limit = limit
    other.receive(frame)
    assert other.messages == [b"x" * 90_000]


def test_a_pause_of_reading_ends_with_its_callback_or_after_a_second() -> None:
    callbacks: list[Callable[[], None]] = []
    client = OpenSocket(
        act=lambda payload: client.protocol.pause_reading_until(callbacks.append) if payload == b"large" else None
    )
    client.receive(client_frame(b"large") + client_frame(b"one"))
    assert (client.messages, client.is_reading) == ([b"large"], False)
    callbacks.pop()()
    assert (client.messages, client.is_reading) == ([b"large", b"one"], True)

    client.receive(client_frame(b"large") + client_frame(b"two"))
    client.clock.advance(MAX_READ_PAUSE * 0.9)
    assert client.messages[3:] == []
    client.clock.advance(MAX_READ_PAUSE * 0.1)
    assert (client.messages[3:], client.is_reading) == ([b"two"], True)
    # The callback has no effect after the timeout.
    callbacks.pop()()
    assert client.is_reading
