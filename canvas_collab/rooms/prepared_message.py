"""Messages on their way out."""

from __future__ import annotations

from attrs import define, field

from canvas_collab.protocol.frames import encode_frame


@define
class PreparedMessage:
    """A message to one client or to many; `frames` keeps its frames, by what was put in front of it."""

    payload: bytes
    frames: dict[bytes, bytes] = field(factory=dict)

    def frame(self, prefix: bytes = b"") -> bytes:
        """The message as a frame, with `prefix` in front of it; made once for all who get the same."""
        frame = self.frames.get(prefix)
        if frame is None:
            frame = self.frames[prefix] = encode_frame(prefix + self.payload)
        return frame
