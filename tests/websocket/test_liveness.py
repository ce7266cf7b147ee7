"""Detecting clients that do not answer pings, or do not read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.logger import capturedLogs

from canvas_collab.config.connections import WebSocketSettings
from canvas_collab.rooms.prepared_message import PreparedMessage
from canvas_collab.websocket.inbound import MAX_UNSLICED_TIME
from tests.support.frames import client_frame
from tests.support.server_sockets import IterationClock, OpenSocket


class ScriptedTransport:
    """An outbound transport that has sent these numbers of buffered bytes, one after the other."""

    def __init__(self, sent: Iterator[int]) -> None:
        self._sent = sent

    @property
    def buffered_bytes_sent(self) -> int:
        return next(self._sent)

    def invalidate(self) -> None:
        pass


def test_a_client_that_reads_slowly_stays_connected_and_one_that_reads_nothing_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = OpenSocket()
    timeout = WebSocketSettings().stall_timeout
    client.protocol.outbound.send(PreparedMessage(b"a message"))
    monkeypatch.setattr(client.protocol, "outbound", ScriptedTransport(iter([0, 1, 1, 2, 2, 2])))
    client.protocol.backpressure_started()
    client.protocol.backpressure_started()
    for _ in range(2):
        client.clock.advance(timeout)
        assert not client.transport.disconnecting
    with capturedLogs() as events:
        client.clock.advance(timeout)
    ended = [event["reason"] for event in events if event["log_format"] == "connection ended"]
    assert ended == ["nothing is being read"]


def test_a_client_is_pinged_only_when_it_has_no_backpressure() -> None:
    client = OpenSocket()
    client.protocol.backpressure_started()
    for _ in range(3):
        client.protocol.keep_alive()
    assert client.sent == b""
    client.protocol.backpressure_ended()
    for _ in range(2):
        client.protocol.keep_alive()
    assert client.sent[:1] == b"\x89"
    assert not client.transport.disconnecting


def test_a_client_that_answers_no_ping_is_dropped() -> None:
    client = OpenSocket()
    for _ in range(2):
        client.protocol.keep_alive()
    assert client.sent[:1] == b"\x89"
    with capturedLogs() as events:
        client.protocol.keep_alive()
    assert [event["reason"] for event in events if event["log_format"] == "connection ended"] == ["no answer to a ping"]


def test_a_client_whose_messages_take_long_is_not_dropped_for_a_pong_that_was_not_read(clock: IterationClock) -> None:
    client = OpenSocket(clock, steps=5, step_time=MAX_UNSLICED_TIME)
    client.receive(client_frame(b"one"))
    assert not client.is_reading
    for _ in range(4):
        client.protocol.keep_alive()
    assert not client.transport.disconnecting
    assert client.sent == b""
