"""Makes a snapshot of the columns in which it is stored."""

from __future__ import annotations

from canvas_collab.document.folding import Snapshot


def make_snapshot(data: bytes, layout: memoryview | None, checksum: memoryview | None) -> Snapshot:
    """Return the snapshot that is in these columns."""
    return Snapshot(data, None if layout is None else bytes(layout), None if checksum is None else bytes(checksum))
