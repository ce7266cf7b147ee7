"""How much work something is: in lines of Python that are run, and in processor time."""

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
    """It took more than it may."""


def lines_executed(function: Callable[[], object], limit: float = float("inf")) -> int:
    """How many lines of Python a call runs, in all that it calls.

    :raises LimitExceeded: once there are more than `limit`.
    """
    lines = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += 1
        if lines > limit:
            raise LimitExceeded(f"more than {limit:.0f} lines")
        return trace

    # Coverage measures with a trace function, too; it goes on afterwards.
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return lines


def cpu_seconds(function: Callable[[], object], limit: float, times: int = 2) -> float:
    """The least processor time that a call took, of some.

    :raises LimitExceeded: if one takes more than `limit`.
    """
    best = float("inf")
    gc.collect()
    gc.disable()
    # Coverage measures with a trace function, which takes several times as long as what it looks at.
    tracing = sys.gettrace()
    sys.settrace(None)
    try:
        for _ in range(times):
            with _limited(limit):
                started = time.process_time()
                function()
                best = min(best, time.process_time() - started)
    except LimitExceeded as error:
        # Without the frame in which it was noticed, which may be one that no report can show.
        raise LimitExceeded(str(error)) from None
    finally:
        sys.settrace(tracing)
        gc.enable()
    return best


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise LimitExceeded(f"more than {seconds:.1f} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
