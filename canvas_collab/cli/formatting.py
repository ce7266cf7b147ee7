"""How the commands print times, sizes, numbers and authors."""

from __future__ import annotations

from datetime import datetime

from canvas_collab.protocol.delete_set import DeleteSet


def format_time(moment: datetime | None) -> str:
    """Format a time in this machine's time zone; "never" for None."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}" if moment else "never"


def format_size(size: int) -> str:
    """Format a size in bytes."""
    return f"{size} B" if size < 10_000 else f"{size / 1000:.0f} kB" if size < 10**7 else f"{size / 10**6:.1f} MB"


def clock_count(clocks: DeleteSet) -> int:
    """Count the clocks of all clients in a delete set."""
    return sum(end - start for _, ranges in clocks.items() for start, end in ranges)


def plural(count: int, one: str, several: str) -> str:
    """Format a number with its noun."""
    return f"{count} {one if count == 1 else several}"


def author_name(name: str | None, user_id: str | None) -> str:
    """Return the name of the user who made an edit, or their id."""
    return name or user_id or "a deleted user"
