"""What a client sends, byte for byte."""

from __future__ import annotations

from websockets.frames import Frame, Opcode


def handshake(path: str) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


def client_frame(payload: bytes, opcode: Opcode = Opcode.BINARY, fin: bool = True) -> bytes:
    """A frame as a client sends it, with a mask that was drawn at random."""
    return bytes(Frame(opcode, payload, fin=fin).serialize(mask=True))
