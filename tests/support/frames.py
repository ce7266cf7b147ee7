"""Bytes of WebSocket clients: the handshake request, and masked frames."""

from __future__ import annotations

from websockets.frames import Frame, Opcode


def handshake(path: str) -> bytes:
    """Return the request of a handshake."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


def client_frame(payload: bytes, opcode: Opcode = Opcode.BINARY, fin: bool = True) -> bytes:
    """Return a frame with a random mask, as clients have to send it."""
    return bytes(Frame(opcode, payload, fin=fin).serialize(mask=True))
