"""Clients that send too much are read more slowly, and closed if they go on."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock
from websockets.frames import Opcode

from canvas_collab.config.limits import RateLimits
from canvas_collab.limits.slow_time import RECOVERY
from canvas_collab.websocket.rates import PAUSE
from tests.support.frames import client_frame
from tests.support.server_sockets import OpenSocket

#: 20 messages at once, then 20 a second: 5 after each pause.
MESSAGES = RateLimits(max_messages=20, burst=1.0, max_bytes=0, patience=3.0)
AFTER_A_PAUSE = int(PAUSE * 20)


def closed(client: OpenSocket) -> bool:
    return client.protocol.is_closing


def test_messages_over_the_limit_are_handled_later_and_none_is_lost() -> None:
    client = OpenSocket(rates=MESSAGES)
    client.receive(b"".join(client_frame(bytes((number,))) for number in range(50)))
    assert len(client.messages) == 20
    assert not client.is_reading
    client.clock.advance(PAUSE)
    assert len(client.messages) == 20 + AFTER_A_PAUSE
    for _ in range(5):
        client.clock.advance(PAUSE)
    assert client.messages == [bytes((number,)) for number in range(50)]
    client.clock.advance(PAUSE)
    assert client.is_reading
    assert not closed(client)
    assert client.exceeded["MAX_MESSAGES_PER_SECOND"] == 6


def test_a_client_within_the_limit_is_never_slowed_down() -> None:
    client = OpenSocket(rates=MESSAGES)
    for _ in range(1000):
        client.receive(client_frame(b"x"))
        client.clock.advance(1 / 20)
    assert len(client.messages) == 1000
    assert client.exceeded == {}


@pytest.mark.parametrize("payload", [b"", b"x" * 125])
def test_pings_count_as_messages(payload: bytes) -> None:
    client = OpenSocket(rates=MESSAGES)
    ping = client_frame(payload, Opcode.PING)
    client.receive(ping * 25 + client_frame(b"last"))
    assert client.messages == []
    client.clock.advance(PAUSE)
    client.clock.advance(PAUSE)
    assert client.messages == [b"last"]


def test_a_client_that_goes_on_for_too_long_is_closed() -> None:
    client = OpenSocket(rates=MESSAGES)
    client.receive(client_frame(b"x") * 10_000)
    while not closed(client):
        client.clock.advance(PAUSE)
    assert client.clock.seconds() == pytest.approx(MESSAGES.patience + PAUSE, abs=PAUSE * 1.5)
    assert client.handler.closed_with == [(4503, "try again later: more than 20 messages a second")]
    client.clock.advance(2)
    assert (4503).to_bytes(2, "big") in client.sent


def test_a_client_that_is_slowed_down_now_and_then_is_not_closed() -> None:
    client = OpenSocket(rates=MESSAGES)
    for _ in range(10):
        client.receive(client_frame(b"x") * 60)
        for _ in range(12):
            client.clock.advance(PAUSE)
        client.clock.advance(RECOVERY)
    assert len(client.messages) == 600
    assert not closed(client)


def test_with_patience_0_a_client_is_slowed_down_for_ever() -> None:
    client = OpenSocket(rates=RateLimits(max_messages=20, burst=1.0, max_bytes=0, patience=0.0))
    client.receive(client_frame(b"x") * 5000)
    for _ in range(900):
        client.clock.advance(PAUSE)
    assert not closed(client)
    assert len(client.messages) == 20 + 900 * AFTER_A_PAUSE


def test_a_client_that_sends_too_many_bytes_is_read_when_they_would_have_been_allowed() -> None:
    client = OpenSocket(rates=RateLimits(max_messages=0, max_bytes=1000, burst=2.0))
    client.receive(client_frame(b"x" * 100) * 40)
    # They were received, and are handled; what comes next waits.
    assert len(client.messages) == 40
    assert not client.is_reading
    frame_size = len(client_frame(b"x" * 100))
    client.clock.advance((40 * frame_size - 2000) / 1000 - 0.01)
    assert not client.is_reading
    client.clock.advance(0.02)
    assert client.is_reading
    assert client.exceeded == {"MAX_BYTES_PER_SECOND": 1}


def test_a_large_message_counts_as_several() -> None:
    client = OpenSocket(Clock(), rates=RateLimits(max_messages=10, max_bytes=0, burst=1.0))
    large = client_frame(b"x" * 2**20)
    for start in range(0, len(large), 2**16):
        client.receive(large[start : start + 2**16])
    assert not client.is_reading
    for _ in range(100):
        client.clock.advance(PAUSE)
    assert [len(message) for message in client.messages] == [2**20]


def test_a_client_that_leaves_while_it_is_slowed_down_has_left_and_what_it_has_sent_is_handled() -> None:
    client = OpenSocket(rates=MESSAGES)
    client.receive(client_frame(b"x") * 100)
    # The next pause would be one too many, and close a connection that is still open.
    while client.clock.seconds() < MESSAGES.patience:
        client.clock.advance(PAUSE)
        client.receive(client_frame(b"x") * AFTER_A_PAUSE)
    client.receive(client_frame(b"x") * 100)
    sent = 100 + int(MESSAGES.patience / PAUSE) * AFTER_A_PAUSE + 100
    assert len(client.messages) < sent
    client.protocol.connectionLost()
    client.clock.advance(PAUSE)
    assert len(client.messages) == client.handler.closed_after == sent


def test_the_end_of_a_paused_connection_ends_the_pause_without_harm() -> None:
    client = OpenSocket(rates=MESSAGES)
    client.receive(client_frame(b"x") * 100)
    client.protocol.dropConnection(abort=True)
    client.protocol.connectionLost()
    client.clock.advance(1)
