"""The memory of the process: returning freed memory to the system, and tuning the garbage collector."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from time import thread_time

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

#: The garbage collector's threshold for its first generation: how many more objects were made than freed.
FIRST_GENERATION_THRESHOLD = 10_000

#: Its threshold for the third generation, which are all objects: with large documents open that takes long.
THIRD_GENERATION_THRESHOLD = 50

#: How often it is checked whether to collect the garbage of all generations, in seconds.
FULL_COLLECTION_INTERVAL = 10.0

#: How many times as long as a full collection took there is none after it, except by the thresholds, as everything
#: waits for it: after one of 3 ms for 9 s, after one of 100 ms for five minutes.
FULL_COLLECTION_RATIO = 3000


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


class FullCollections(Service):
    """Collects the garbage of all generations early, and more rarely the longer that takes.

    A WebSocket and its parts refer to one another, so they are freed by garbage collection alone.  By the thresholds it
    is their turn after tens of thousands of connections, which hold a hundred megabytes by then.
    """

    def __init__(self, reactor: IReactorTime, collect: Callable[[], object] = gc.collect) -> None:
        self._reactor = reactor
        self._collect = collect
        self._loop = LoopingCall(self._collect_if_quick)
        self._loop.clock = reactor
        self._not_before = 0.0

    def startService(self) -> None:
        """Begin to check."""
        Service.startService(self)
        self._loop.start(FULL_COLLECTION_INTERVAL, now=False)

    def stopService(self) -> None:
        """Stop checking."""
        Service.stopService(self)
        self._loop.stop()

    def _collect_if_quick(self) -> None:
        now = self._reactor.seconds()
        # How many collections of the first and of the second generation there were since the last of all.
        if gc.get_count()[1:] == (0, 0) or now < self._not_before:
            return
        started = thread_time()
        self._collect()
        self._not_before = now + FULL_COLLECTION_RATIO * (thread_time() - started)
