"""The cost of a call: how many lines of Python it executes, and how much processor time it takes."""

from __future__ import annotations

import gc
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class LimitExceeded(Exception):
    """A call cost more than it may."""


def lines_executed(function: Callable[[], object], limit: float = float("inf")) -> int:
    """Count the lines of Python that a call executes, including what it calls.

    :raises LimitExceeded: as soon as there are more than `limit`.
    """
    lines = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += 1
        if lines > limit:
            raise LimitExceeded(f"more than {limit:.0f} lines")
        return trace

    # Coverage uses a trace function, too; it is restored afterwards.
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return lines


def cpu_seconds(function: Callable[[], object], limit: float, times: int = 2) -> float:
    """Measure the processor time of a call, in seconds: the least of several.

    :raises LimitExceeded: if a call takes more than `limit` seconds.
    """
    best = float("inf")
    gc.collect()
    gc.disable()
    # The trace function of coverage would take several times as long as the call itself.
    tracing = sys.gettrace()
    sys.settrace(None)
    try:
        for _ in range(times):
            with _limited(limit):
                started = time.process_time()
                function()
                best = min(best, time.process_time() - started)
    except LimitExceeded as error:
        # A traceback would hold the interrupted frame, which pytest may not be able to show.
        raise LimitExceeded(str(error)) from None
    finally:
        sys.settrace(tracing)
        gc.enable()
    return best


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Interrupt the with statement when it has taken so much processor time."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise LimitExceeded(f"more than {seconds:.1f} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
