"""Admitting sockets by network, in memory."""

from __future__ import annotations

from collections import Counter

import pytest
from twisted.internet.task import Clock

from canvas_collab.access.authorization import Denied
from canvas_collab.config.connections import WebSocketSettings
from canvas_collab.config.limits import AddressLimits
from canvas_collab.websocket.admission import CUT_OFF, Admission


class Peer:
    """A socket from an address; a unix socket if there is none."""

    def __init__(self, address: str) -> None:
        self.client_address = address or "unix"
        self.has_address = bool(address)


def admission(limits: AddressLimits, exceeded: Counter[str] | None = None, trusted_proxies: int = 0) -> Admission:
    settings = WebSocketSettings(trusted_proxies=trusted_proxies, max_connections=20)
    return Admission(Clock(), settings, limits, Counter() if exceeded is None else exceeded)


def test_a_classroom_behind_one_address_is_admitted_with_the_default_limits() -> None:
    settings = WebSocketSettings()
    clock = Clock()
    classroom = Admission(clock, settings, AddressLimits(), Counter())
    # Three documents each, and for a minute every page retries as fast as y-websocket does.
    for _ in range(3 * 300):
        assert classroom.connected(Peer("192.0.2.1:1"))
    for _ in range(24):
        for _ in range(300):
            peer = Peer("192.0.2.1:1")
            assert classroom.connected(peer)
            classroom.admit(peer, {})
            classroom.disconnected(peer)
        clock.advance(2.5)


def test_a_socket_counts_until_it_is_closed() -> None:
    exceeded = Counter[str]()
    limited = admission(AddressLimits(max_connections=2), exceeded)
    peers = [Peer(f"192.0.2.1:{port}") for port in range(CUT_OFF * 2 + 1)]
    assert [limited.connected(peer) for peer in peers] == [True] * (CUT_OFF * 2) + [False]
    for peer in peers[2:]:
        limited.disconnected(peer)
    limited.admit(peers[0], {})
    late = Peer("192.0.2.1:99")
    limited.connected(late)
    with pytest.raises(Denied) as denied:
        limited.admit(late, {})
    assert denied.value.status == 429
    assert exceeded == {"MAX_CONNECTIONS_PER_ADDRESS": 2}


def test_behind_a_proxy_a_socket_counts_from_its_request_on() -> None:
    limited = admission(AddressLimits(max_connections=1), trusted_proxies=1)
    waiting = [Peer("127.0.0.1:1") for _ in range(10)]
    assert all(limited.connected(peer) for peer in waiting)
    for number, peer in enumerate(waiting):
        peer.client_address = f"192.0.2.{number}"
        limited.admit(peer, {"x-forwarded-for": peer.client_address})
    unix = [Peer("") for _ in range(5)]
    for peer in unix:
        limited.connected(peer)
        limited.admit(peer, {})


def test_of_all_sockets_together_there_are_so_many_even_without_limits_for_each_address() -> None:
    exceeded = Counter[str]()
    limited = admission(AddressLimits(max_connections=0, max_handshakes=0), exceeded)
    peers = [Peer("192.0.2.1:1") for _ in range(21)]
    assert all(limited.connected(peer) for peer in peers)
    with pytest.raises(Denied) as denied:
        limited.admit(peers[0], {})
    assert denied.value.status == 503
    limited.disconnected(peers[-1])
    limited.admit(peers[0], {})
    assert exceeded == {"MAX_CONNECTIONS": 1}


def test_what_was_never_connected_is_disconnected_without_harm() -> None:
    admission(AddressLimits()).disconnected(Peer("192.0.2.1:1"))
