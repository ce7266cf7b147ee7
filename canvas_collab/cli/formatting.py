"""Times, sizes, numbers and people as the commands write them."""

from __future__ import annotations

from datetime import datetime

from canvas_collab.protocol.delete_set import DeleteSet


def as_time(moment: datetime | None) -> str:
    """A time, in this machine's time zone."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}" if moment else "never"


def as_bytes(size: int) -> str:
    """A size in bytes."""
    return f"{size} B" if size < 10_000 else f"{size / 1000:.0f} kB" if size < 10**7 else f"{size / 10**6:.1f} MB"


def clock_count(clocks: DeleteSet) -> int:
    """How many clocks there are."""
    return sum(end - start for _, ranges in clocks.items() for start, end in ranges)


def counted(count: int, one: str, several: str) -> str:
    """A number of things."""
    return f"{count} {one if count == 1 else several}"


def whose(name: str | None, user_id: str | None) -> str:
    """Whose an edit is, as far as that is known."""
    return name or user_id or "somebody whose account is gone"
