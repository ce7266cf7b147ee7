"""Handling received messages in order and in slices, so that no client delays the others."""

from __future__ import annotations

import pytest
from twisted.logger import capturedLogs
from websockets.frames import Opcode

from canvas_collab.config.limits import RateLimits
from canvas_collab.protocol.frames import encode_frame
from canvas_collab.scheduling import make_cooperator
from canvas_collab.websocket.inbound import MAX_UNSLICED_TIME
from tests.support.frames import client_frame
from tests.support.server_sockets import AT_ONCE, IterationClock, OpenSocket


def test_a_client_whose_messages_take_long_is_handled_in_slices_and_not_read_meanwhile(clock: IterationClock) -> None:
    client = OpenSocket(clock, steps=4, step_time=MAX_UNSLICED_TIME * 0.6)
    client.receive(client_frame(b"one") + client_frame(b"two"))
    assert client.messages == []
    assert not client.is_reading
    iterations = 0
    while not client.is_reading:
        clock.run_iteration()
        iterations += 1
    assert client.messages == [b"one", b"two"]
    assert iterations > 1


def test_a_client_whose_messages_are_handled_quickly_is_read_on(clock: IterationClock) -> None:
    client = OpenSocket(clock, step_time=MAX_UNSLICED_TIME / 3)
    client.receive(client_frame(b"one") + client_frame(b"two"))
    assert len(client.messages) == 2
    assert client.is_reading


def test_messages_that_take_long_do_not_delay_those_of_other_clients(clock: IterationClock) -> None:
    cooperator = make_cooperator(clock)
    busy = [OpenSocket(clock, steps=100, step_time=0.001, cooperator=cooperator) for _ in range(20)]
    for client in busy:
        client.receive(client_frame(b"large"))
    other = OpenSocket(clock, step_time=0.0001, cooperator=cooperator)
    for iteration in range(1, 100):
        clock.run_iteration()
        other.receive(client_frame(b"small"))
        assert len(other.messages) == iteration
    assert not all(client.messages for client in busy)


def test_busy_clients_get_equal_shares_of_time_however_long_their_messages_take(clock: IterationClock) -> None:
    cooperator = make_cooperator(clock)
    large = OpenSocket(clock, steps=1000, step_time=0.001, cooperator=cooperator)
    large.receive(client_frame(b"large"))
    small = OpenSocket(clock, steps=5, step_time=0.001, cooperator=cooperator)
    small.receive(client_frame(b"small"))
    for _ in range(10):
        clock.run_iteration()
    assert small.messages == [b"small"]
    assert large.messages == []


def test_pings_and_empty_fragments_are_handled_in_slices_like_messages(
    clock: IterationClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = OpenSocket(clock)

    def slow_answer(payload: bytes) -> None:
        clock.rightNow += MAX_UNSLICED_TIME / 10

    monkeypatch.setattr(client.protocol, "ping_received", slow_answer)
    client.receive(client_frame(b"?", Opcode.PING) * 1000)
    assert not client.is_reading

    fragmenting = OpenSocket(clock)
    feed = fragmenting.protocol.feed

    def slow_feed(data: bytes) -> None:
        clock.rightNow += MAX_UNSLICED_TIME / 3
        feed(data)

    monkeypatch.setattr(fragmenting.protocol, "feed", slow_feed)
    empty = client_frame(b"", Opcode.CONT, fin=False)
    fragmenting.receive(client_frame(b"", fin=False) + empty * 1000)
    assert not fragmenting.is_reading


def test_messages_that_were_received_before_the_connection_ended_are_handled(clock: IterationClock) -> None:
    client = OpenSocket(clock, steps=5, step_time=MAX_UNSLICED_TIME)
    client.receive(client_frame(b"one") + client_frame(b"two") + client_frame(b"", Opcode.CLOSE))
    client.protocol.connectionLost()
    assert client.messages == []
    while client.handler.closed_after is None:
        clock.run_iteration()
    assert client.handler.closed_after == 2


def test_messages_are_the_same_however_they_are_split_into_reads_and_frames(clock: IterationClock) -> None:
    whole = client_frame(b"small") + client_frame(b"x" * 70_000) + client_frame(b"again")
    parts = client_frame(b"in two ", fin=False) + client_frame(b"frames", Opcode.CONT) + client_frame(b"end")
    expected = [b"small", b"x" * 70_000, b"again", b"in two frames", b"end"]
    data = whole + parts
    for size in (1, 2, 7, 100, 70_010, len(data)):
        client = OpenSocket(clock)
        for start in range(0, len(data), size):
            client.receive(data[start : start + size])
        assert client.messages == expected


def test_a_ping_between_messages_is_answered() -> None:
    client = OpenSocket()
    client.receive(client_frame(b"one") + client_frame(b"?", Opcode.PING) + client_frame(b"two"))
    assert client.messages == [b"one", b"two"]
    assert client.sent == b"\x8a\x01?"


@pytest.mark.parametrize("frame", [encode_frame(b"not masked"), b"\xc2\x80\x00\x00\x00\x00"])
def test_a_frame_that_violates_the_websocket_protocol_closes_the_connection(frame: bytes) -> None:
    client = OpenSocket()
    client.receive(client_frame(b"one") + frame + client_frame(b"two"))
    assert client.messages == [b"one"]
    # 1002, a protocol error.
    assert client.sent[2:4] == b"\x03\xea"


def test_messages_that_are_handled_at_once_keep_their_place_among_those_that_take_steps(clock: IterationClock) -> None:
    client = OpenSocket(clock, steps=4, step_time=MAX_UNSLICED_TIME * 0.3)
    sent = [AT_ONCE + b"1", b"steps", AT_ONCE + b"2", b"more steps", AT_ONCE + b"3"]
    client.receive(b"".join(map(client_frame, sent)))
    client.receive(client_frame(AT_ONCE + b"4"))
    while not client.is_reading:
        clock.run_iteration()
    assert client.messages == [*sent, AT_ONCE + b"4"]


def test_many_messages_that_are_handled_at_once_are_handled_in_slices(clock: IterationClock) -> None:
    client = OpenSocket(clock, step_time=MAX_UNSLICED_TIME / 10)
    client.receive(client_frame(AT_ONCE) * 1000)
    assert len(client.messages) <= 12
    assert not client.is_reading
    iterations = 0
    while not client.is_reading:
        clock.run_iteration()
        iterations += 1
    assert len(client.messages) == 1000
    assert iterations > 10


def test_messages_that_are_handled_at_once_count_for_the_rate_limit(clock: IterationClock) -> None:
    client = OpenSocket(clock, rates=RateLimits(max_messages=10, burst=1, max_bytes=0))
    client.receive(client_frame(AT_ONCE) * 25)
    assert len(client.messages) == 10
    assert client.exceeded == {"MAX_MESSAGES_PER_SECOND": 1}


def test_an_exception_in_handling_a_message_at_once_closes_the_connection(clock: IterationClock) -> None:
    def fail(payload: bytes) -> None:
        raise RuntimeError("a fault")

    client = OpenSocket(clock, act=fail)
    with capturedLogs() as events:
        client.receive(client_frame(AT_ONCE) * 2)
    assert [event["log_format"] for event in events] == ["message not handled", "connection ended"]
    assert client.handler.closed_with == [(1011, "internal error")]


def test_a_message_after_the_first_part_of_a_fragmented_one_waits_for_the_parser(clock: IterationClock) -> None:
    client = OpenSocket(clock)
    client.receive(client_frame(AT_ONCE))
    client.receive(client_frame(b"in two ", fin=False))
    client.receive(client_frame(b"frames", Opcode.CONT) + client_frame(AT_ONCE))
    assert client.messages == [AT_ONCE, b"in two frames", AT_ONCE]
