"""File descriptors: every connection takes one, and systems give a process few unless it asks."""

from __future__ import annotations

import resource
import sys


def raise_descriptor_limit() -> int:
    """Raise this process's limit of open files to the highest that the system lets it have; returns that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            # Some systems do not allow what they say they do.
            return soft
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard
