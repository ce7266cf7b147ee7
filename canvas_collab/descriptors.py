"""The limit of open files: every connection takes a descriptor, and the default limit is often as low as 1024."""

from __future__ import annotations

import resource
import sys

#: How many file descriptors are needed for other things than clients: the event log, the database, the listening
#: sockets, compaction.
OTHER_DESCRIPTORS = 64


def raise_descriptor_limit() -> int:
    """Raise this process's soft limit of open files to its hard limit, and return the limit that applies then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            # Some systems report a hard limit that they do not accept; macOS is one.
            return soft
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard
