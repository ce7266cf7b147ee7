"""twistd as it is, but for its very end: it leaves instead of dying of the signal that stopped it.

The signal would take the coverage measurement with it.  Where ``STALLS_FILE`` names a file, it also writes there how
late the reactor was with something that was due every 5 ms, in seconds, the worst last.  Where ``TURNS_FILE`` names
one, it writes there when the reactor worked for long without a break, by ``perf_counter``, and the processor time.
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

TICK = 0.005

#: Other processes do not count in processor time, so this can be little, in seconds.
LONG = 0.008


def leave(number: int) -> NoReturn:
    """What a shell makes of a process that died of a signal."""
    sys.exit(128 + number)


def watch_for_stalls(path: Path) -> None:
    """Tick, and write down what was late when the reactor stops."""
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
    """Put a time of day in place of the system's that can be wrong."""
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
    """Tick, and write down at once between which ticks more than :data:`LONG` was worked."""
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


app._exitWithSignal = leave
if os.environ.get("SET_BACK"):
    set_back_on_signal(float(os.environ["SET_BACK"]))
if os.environ.get("STALLS_FILE"):
    watch_for_stalls(Path(os.environ["STALLS_FILE"]))
if os.environ.get("TURNS_FILE"):
    watch_for_long_turns(Path(os.environ["TURNS_FILE"]))
run()
