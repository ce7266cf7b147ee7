"""twistd for tests: exits with a status when a signal stops it, rather than by that signal.

Ending by the signal would lose the coverage data. Environment variables add measurements:

- ``STALLS_FILE``: how late the reactor was with a call every 5 ms is written to this file when it stops, in seconds,
  the worst last.
- ``TURNS_FILE``: when the reactor worked long without a break, by ``perf_counter``, and the processor time, are written
  to this file as they happen.
- ``SET_BACK``: on SIGUSR1 the time of day is set back by so many seconds.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from time import perf_counter, thread_time
from typing import NoReturn

from twisted.application import app
from twisted.internet.base import ReactorBase
from twisted.scripts.twistd import run

#: The interval of the measurements, in seconds.
TICK = 0.005

#: From how much processor time on a turn of the reactor is written to ``TURNS_FILE``, in seconds.
LONG = 0.008


def exit_with_status(number: int) -> NoReturn:
    """Exit with the status that a shell reports for a process that a signal ended."""
    sys.exit(128 + number)


def watch_for_stalls(path: Path) -> None:
    """Measure how late the reactor is, and write it to a file when the reactor stops."""
    from twisted.internet import reactor

    lateness: list[float] = []
    due = 0.0

    def tick() -> None:
        nonlocal due
        now = perf_counter()
        if due:
            lateness.append(now - due)
        due = now + TICK
        reactor.callLater(TICK, tick)

    reactor.callWhenRunning(tick)
    reactor.addSystemEventTrigger("after", "shutdown", lambda: path.write_text(json.dumps(sorted(lateness))))


def set_back_on_signal(seconds: float) -> None:
    """Replace ``time.time`` with one that SIGUSR1 sets back."""
    right = time.time
    behind = 0.0

    def time_of_day() -> float:
        return right() - behind

    def set_back(number: int, frame: object) -> None:
        nonlocal behind
        behind = seconds
        print(json.dumps({"event": "the clock was set back"}), file=sys.__stdout__, flush=True)

    time.time = time_of_day
    ReactorBase.seconds = staticmethod(time_of_day)
    signal.signal(signal.SIGUSR1, set_back)


def watch_for_long_turns(path: Path) -> None:
    """Write turns of the reactor that take more processor time than :data:`LONG` to a file."""
    from twisted.internet import reactor

    file = path.open("w", buffering=1)
    before = thread_time()

    def tick() -> None:
        nonlocal before
        now = thread_time()
        if now - before > LONG:
            file.write(f"{perf_counter()} {now - before}\n")
        before = thread_time()
        reactor.callLater(TICK, tick)

    reactor.callWhenRunning(tick)


app._exitWithSignal = exit_with_status
if os.environ.get("SET_BACK"):
    set_back_on_signal(float(os.environ["SET_BACK"]))
if os.environ.get("STALLS_FILE"):
    watch_for_stalls(Path(os.environ["STALLS_FILE"]))
if os.environ.get("TURNS_FILE"):
    watch_for_long_turns(Path(os.environ["TURNS_FILE"]))
run()
