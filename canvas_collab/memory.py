"""Memory of the process: returning it to the system, and how often the garbage collector runs."""

from __future__ import annotations

import ctypes
import gc

#: The garbage collector looks at new objects when there are so many more of them.
COLLECT_AFTER = 10_000

#: It looks at all objects after so many times ten of these looks: with large documents open that takes long.
COLLECT_ALL_AFTER = 50


def release_free_memory() -> bool:
    """Return freed memory to the system; returns whether there was any.

    The C library does this by itself only for memory at the end of its heap.  It takes some milliseconds for a hundred
    megabytes.  Only glibc can be told to, and memory that Python's allocator keeps for small objects stays.
    """
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (AttributeError, OSError):
        return False


def tune_garbage_collection() -> None:
    """Run the garbage collector rarely, and not at all over the objects that exist now.

    What exists when the daemon has started stays to its end.  Nearly everything that comes later is freed by its
    reference count; with the default thresholds, collecting takes a tenth of the time that a message takes.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 10, COLLECT_ALL_AFTER)
