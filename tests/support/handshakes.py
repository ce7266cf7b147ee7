"""Knocking at the daemon's door as a browser does, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.support.daemons import Daemon

OPEN = 101
SYNC_STEP_1 = b"\x00\x00\x01\x00"
SYNC_STEP_2 = b"\x00\x01"


@dataclass(frozen=True)
class Answer:
    """What the daemon said to a handshake."""

    status: int
    reason: str = ""
    body: bytes = b""
    header_names: tuple[str, ...] = ()


def open_connection(
    daemon: Daemon, path: str = "/diagram-sketch", *, origin: str | None = None, **headers: str
) -> ClientConnection:
    return connect(
        daemon.ws_url + path,
        origin=origin,  # type: ignore[arg-type]
        additional_headers={name.capitalize(): value for name, value in headers.items()},
        proxy=None,
        open_timeout=10,
        close_timeout=10,
    )


def request_step_2(connection: ClientConnection) -> bytes:
    """Ask for the document and wait for it."""
    connection.send(SYNC_STEP_1)
    while True:
        message = connection.recv(timeout=10)
        if isinstance(message, bytes) and message.startswith(SYNC_STEP_2):
            return message


def try_handshake(
    daemon: Daemon, path: str = "/diagram-sketch", *, origin: str | None = None, **headers: str
) -> Answer:
    """Knock, and where the door opens, see that the document behind it is served."""
    try:
        connection = open_connection(daemon, path, origin=origin, **headers)
    except InvalidStatus as refusal:
        response = refusal.response
        names = tuple(sorted({name.lower() for name, _ in response.headers.raw_items()}))
        return Answer(response.status_code, response.reason_phrase, bytes(response.body or b""), names)
    with connection:
        request_step_2(connection)
    return Answer(OPEN)


def close_code(connection: ClientConnection) -> int:
    """Read until the daemon closes the connection; the code with which it does."""
    with pytest.raises(ConnectionClosed) as closed:
        receive_until_closed(connection)
    frame = closed.value.rcvd
    assert frame is not None, "cut off without a close frame"
    return int(frame.code)


def receive_until_closed(connection: ClientConnection) -> None:
    """Read whatever comes; ends with `ConnectionClosed`, or with `TimeoutError` when nothing comes."""
    while True:
        connection.recv(timeout=10)


def denial_code(daemon: Daemon, *, origin: str | None = None, **headers: str) -> int:
    """The code of the close that follows an accepted handshake before anything else does."""
    with open_connection(daemon, origin=origin, **headers) as connection:
        with pytest.raises(ConnectionClosed):
            connection.recv(timeout=10)
        return close_code(connection)
