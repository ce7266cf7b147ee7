"""Messages that are framed once and sent to many clients."""

from __future__ import annotations

from typing import final

from canvas_collab.protocol.frames import encode_frame


@final
class PreparedMessage:
    """An outgoing message; `frames` caches its WebSocket frames by prefix."""

    __slots__ = ("frames", "payload")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.frames: dict[bytes, bytes] = {}

    def frame(self, prefix: bytes = b"") -> bytes:
        """Return the WebSocket frame with `prefix` and the message; it is encoded once for each prefix."""
        frame = self.frames.get(prefix)
        if frame is None:
            frame = self.frames[prefix] = encode_frame(prefix + self.payload)
        return frame
