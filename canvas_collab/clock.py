"""A monotonic clock for the reactor, which changes of the system's time do not affect."""

from __future__ import annotations

import time
from typing import Any


def use_monotonic_clock(reactor: Any) -> None:
    """Make the reactor tell the time, and schedule delayed calls, by ``time.monotonic``.

    Twisted uses the time of day by default: setting the system's clock back by an hour would delay every scheduled call
    by an hour. Calls that are scheduled already keep the time that remains to them.
    """
    offset = time.monotonic() - reactor.seconds()
    reactor.seconds = time.monotonic
    for call in reactor.getDelayedCalls():
        call.seconds = time.monotonic
        call.time += offset
