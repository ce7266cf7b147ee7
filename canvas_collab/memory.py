"""Giving memory back to the system, which the C library does by itself only for what lies at the end of its heap."""

from __future__ import annotations

import ctypes


def release_free_memory() -> bool:
    """Give back what was freed; returns whether anything was. That takes some milliseconds for a hundred megabytes.

    Only glibc can be told to; what Python's own allocator keeps for small objects stays.
    """
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (AttributeError, OSError):
        return False
