"""The memory of the process: returning freed memory to the system, and tuning the garbage collector."""

from __future__ import annotations

import ctypes
import gc

#: The garbage collector's threshold for its first generation: how many more objects were made than freed.
FIRST_GENERATION_THRESHOLD = 10_000

#: Its threshold for the third generation, which are all objects: with large documents open that takes long.
THIRD_GENERATION_THRESHOLD = 50


def release_free_memory() -> bool:
    """Return freed memory to the system, and return whether there was any to return.

    By itself the C library returns only the memory at the end of its heap. This takes some milliseconds for a hundred
    megabytes. It works with glibc only, and not for the memory that Python's own allocator keeps for small objects.
    """
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (AttributeError, OSError):
        return False


def tune_garbage_collection() -> None:
    """Make the garbage collector run rarely, and never look at the objects that exist now.

    Objects that exist when the daemon has started live until it ends. Nearly all that are created later are freed by
    their reference counts; with the default thresholds, garbage collection takes a tenth of the time of handling a
    message.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(FIRST_GENERATION_THRESHOLD, 10, THIRD_GENERATION_THRESHOLD)
