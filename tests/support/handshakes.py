"""WebSocket handshakes with chosen headers, and how the daemon answers them."""

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
    """The response to a handshake; the status is 101 (:data:`OPEN`) if it was accepted."""

    status: int
    reason: str = ""
    body: bytes = b""
    header_names: tuple[str, ...] = ()


def open_connection(
    daemon: Daemon, path: str = "/diagram-sketch", *, origin: str | None = None, **headers: str
) -> ClientConnection:
    """Open a connection.

    :param headers: further headers, by their names in lower case.
    :raises InvalidStatus: if the daemon refuses the handshake.
    """
    return connect(
        daemon.ws_url + path,
        origin=origin,  # type: ignore[arg-type]
        additional_headers={name.capitalize(): value for name, value in headers.items()},
        proxy=None,
        open_timeout=10,
        close_timeout=10,
    )


def request_step_2(connection: ClientConnection) -> bytes:
    """Send a sync step 1, and return the sync step 2 that answers it."""
    connection.send(SYNC_STEP_1)
    while True:
        message = connection.recv(timeout=10)
        if isinstance(message, bytes) and message.startswith(SYNC_STEP_2):
            return message


def try_handshake(
    daemon: Daemon, path: str = "/diagram-sketch", *, origin: str | None = None, **headers: str
) -> Answer:
    """Make a handshake and return the answer; if it is accepted, wait until the document was received."""
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
    """Read until the daemon closes the connection, and return the close code."""
    with pytest.raises(ConnectionClosed) as closed:
        receive_until_closed(connection)
    frame = closed.value.rcvd
    assert frame is not None, "cut off without a close frame"
    return int(frame.code)


def receive_until_closed(connection: ClientConnection) -> None:
    """Read until the connection is closed.

    :raises ConnectionClosed: then.
    :raises TimeoutError: if nothing comes for 10 seconds.
    """
    while True:
        connection.recv(timeout=10)


def denial_code(daemon: Daemon, *, origin: str | None = None, **headers: str) -> int:
    """Return the code with which the daemon closes right after the handshake, before any message."""
    with open_connection(daemon, origin=origin, **headers) as connection:
        with pytest.raises(ConnectionClosed):
            connection.recv(timeout=10)
        return close_code(connection)
