"""The reactor's clock: one that only goes forward, and evenly, whatever is done to the system's."""

from __future__ import annotations

import time
from typing import Any


def use_monotonic_clock(reactor: Any) -> None:
    """Let the reactor, and all that asks it for the time or to be called later, go by the monotonic clock.

    Twisted's own is the time of day: set back by an hour, it delays everything that is due by an hour. What has been
    scheduled before this is due when it would have been.
    """
    behind = time.monotonic() - reactor.seconds()
    reactor.seconds = time.monotonic
    for call in reactor.getDelayedCalls():
        call.seconds = time.monotonic
        call.time += behind
