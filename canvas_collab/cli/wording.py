"""Times and sizes as the commands write them."""

from __future__ import annotations

from datetime import datetime


def as_time(moment: datetime | None) -> str:
    """A time, in this machine's time zone."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}" if moment else "never"


def as_bytes(size: int) -> str:
    """A size in bytes."""
    return f"{size} B" if size < 10_000 else f"{size / 1000:.0f} kB" if size < 10**7 else f"{size / 10**6:.1f} MB"


def counted(count: int, one: str, several: str) -> str:
    """A number of things."""
    return f"{count} {one if count == 1 else several}"
