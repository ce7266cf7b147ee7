"""How many Python calls one edit takes, from the socket to the others' sockets."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType

import pytest
from twisted.internet.address import UNIXAddress
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

import canvas_collab
from canvas_collab.access.authentication import Credential, Session, Source
from canvas_collab.access.authorization import Authorization, Request
from canvas_collab.access.roles import Access
from canvas_collab.config.connections import ConnectionLimits, WebSocketSettings
from canvas_collab.config.limits import AddressLimits
from canvas_collab.counters import Counters
from canvas_collab.protocol import sync
from canvas_collab.rooms.channel import Channel
from canvas_collab.rooms.connection import Connection
from canvas_collab.rooms.room import Room
from canvas_collab.scheduling import make_cooperator
from canvas_collab.websocket.admission import Admission
from canvas_collab.websocket.rates import RateLimiter
from canvas_collab.websocket.server import ServerFactory
from canvas_collab.websocket.server_protocol import ServerProtocol
from canvas_collab.websocket.y_websocket import YWebsocket
from tests.support.frames import client_frame, handshake
from tests.support.rooms import make_room
from tests.support.server_sockets import UNLIMITED

#: How many of this package's own calls an edit may take, interpreted.  For each recipient there are four fewer if the
#: transport is a socket, which is sent to directly.
CALLS = 80
CALLS_PER_RECIPIENT = 5

PACKAGE = str(Path(canvas_collab.__file__).parent)


class Opener:
    """Lets every client into one room."""

    def __init__(self, room: Room[Connection]) -> None:
        self._room = room

    async def open(self, channel: Channel, name: str, request: Request, token: str = "") -> Connection:
        session = Session("user", "token", 60.0)
        authorization = Authorization(name, session, Access.WRITE, Credential("token", Source.QUERY))
        return Connection(channel, self._room, authorization, Journal(), ConnectionLimits())

    def room_of(self, path: str) -> str:
        return "room"

    def join(self, connection: Connection) -> None:
        connection.join()


class Journal:
    full = False

    def after_commit(self, document_id: str, act: object) -> None:
        pass


def open_sockets(count: int) -> list[tuple[ServerProtocol, StringTransport]]:
    """Sockets in one room."""
    clock = Clock()
    opener = Opener(make_room(clock))
    factory = ServerFactory(
        clock,
        WebSocketSettings(),
        opener,  # type: ignore[arg-type]
        lambda socket, path: YWebsocket(clock, socket, opener, Journal()),  # type: ignore[arg-type]
        make_cooperator(clock),
        Counters(),
        Admission(clock, WebSocketSettings(), AddressLimits(), Counter()),
        lambda socket: RateLimiter(clock, socket, UNLIMITED, Counter()),
    )
    sockets: list[tuple[ServerProtocol, StringTransport]] = []
    for _ in range(count):
        transport = StringTransport(hostAddress=UNIXAddress(b"socket"))
        protocol = factory.buildProtocol(None)
        assert isinstance(protocol, ServerProtocol)
        protocol.makeConnection(transport)
        protocol.dataReceived(handshake("/room"))
        transport.clear()
        sockets.append((protocol, transport))
    return sockets


def typed_character(clock: int) -> bytes:
    """The frame with the insertion of a character after the previous one of the same client."""
    return client_frame(sync.encode_update(bytes((1, 1, 7, clock, 0x84, 7, clock - 1, 1)) + b"a\x00"))


def calls_of(code: Counter[CodeType]) -> str:
    return "\n".join(f"{count} {function.co_filename}:{function.co_name}" for function, count in code.most_common())


@pytest.mark.parametrize("recipients", [4, 40])
def test_an_edit_takes_few_calls(recipients: int) -> None:
    (sender, _), *others = open_sockets(1 + recipients)
    first = bytes((1, 1, 7, 0, 0x04, 1, 1)) + b"ta" + b"a\x00"
    sender.dataReceived(client_frame(sync.encode_update(first[:8] + b"\x01a\x00")))
    sender.dataReceived(typed_character(1))
    calls: Counter[CodeType] = Counter()

    def count(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            calls[frame.f_code] += 1

    previous = sys.getprofile()
    sys.setprofile(count)
    try:
        sender.dataReceived(typed_character(2))
    finally:
        sys.setprofile(previous)
    assert all(transport.value().count(b"a\x00") == 3 for _, transport in others)
    assert sum(calls.values()) <= CALLS + CALLS_PER_RECIPIENT * recipients, calls_of(calls)
