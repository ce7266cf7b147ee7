"""One client's WebSocket: answering pings, faults in handling messages, and closing."""

from __future__ import annotations

from twisted.logger import capturedLogs
from websockets.frames import Opcode

from canvas_collab.config.connections import WebSocketSettings
from canvas_collab.protocol.close_codes import CloseCode, ProtocolViolation
from canvas_collab.rooms.prepared_message import PreparedMessage
from tests.support.frames import client_frame
from tests.support.server_sockets import OpenSocket


def test_of_the_pings_that_were_received_during_backpressure_the_last_one_is_answered() -> None:
    client = OpenSocket()
    client.protocol.outbound.pauseProducing()
    for payload in (b"1", b"2", b"3"):
        client.receive(client_frame(payload, Opcode.PING))
    assert client.sent == b""
    client.protocol.outbound.resumeProducing()
    assert client.sent == b"\x8a\x013"


def test_an_exception_in_a_handler_is_logged_and_closes_the_connection_and_no_later_message_is_handled() -> None:
    def fail(payload: bytes) -> None:
        raise RuntimeError("a fault")

    client = OpenSocket(act=fail)
    with capturedLogs() as events:
        client.receive(client_frame(b"one") + client_frame(b"two"))
    assert client.messages == []
    assert [event["log_format"] for event in events] == ["message not handled", "connection ended"]
    assert client.sent == b""
    client.clock.advance(WebSocketSettings().close_delay)
    assert client.sent[:4] == b"\x88\x10\x03\xf3"


def test_a_client_that_violates_the_protocol_is_closed_at_once_and_sent_the_close_frame_later() -> None:
    def violate(payload: bytes) -> None:
        raise ProtocolViolation(CloseCode.MALFORMED, "malformed")

    client = OpenSocket(act=violate)
    client.receive(client_frame(b"one") + client_frame(b"two"))
    assert client.handler.closed_with == [(4400, "malformed")]
    assert not client.is_reading
    # What the client has sent already is not handled, and nothing else is sent to it.
    client.receive(client_frame(b"three") + client_frame(b"?", Opcode.PING))
    client.protocol.outbound.send(PreparedMessage(b"a message"))
    client.protocol.close(CloseCode.INTERNAL_ERROR, "internal error")
    client.clock.advance(WebSocketSettings().close_delay * 0.9)
    assert (client.messages, client.sent) == ([], b"")
    client.clock.advance(WebSocketSettings().close_delay * 0.1)
    assert client.sent[2:4] == (4400).to_bytes(2, "big")
    assert client.is_reading
    assert client.handler.closed_with == [(4400, "malformed")]


def test_no_close_frame_is_sent_when_the_connection_is_lost_before() -> None:
    client = OpenSocket()
    client.protocol.close(CloseCode.MALFORMED, "malformed")
    client.protocol.connectionLost()
    client.clock.advance(60)
    assert client.sent == b""
    assert client.clock.getDelayedCalls() == []


def test_when_the_daemon_stops_the_close_frame_is_sent_at_once() -> None:
    client = OpenSocket()
    client.protocol.close_now(CloseCode.SERVICE_RESTART, "the server restarts")
    assert client.sent[2:4] == (1012).to_bytes(2, "big")
