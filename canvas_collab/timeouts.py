"""Waiting for a Deferred no longer than some time, without cancelling it."""

from __future__ import annotations

from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

_T = TypeVar("_T")


async def wait_at_most(reactor: IReactorTime, deferred: Deferred[_T], timeout: float, default: _T) -> _T:
    """Return the result of `deferred`, or `default` if it has none within `timeout` seconds.

    Unlike ``addTimeout`` this cancels nothing: cancelling a query makes psycopg2 open a second, blocking connection to
    the server.
    """
    outcome: Deferred[_T] = Deferred()
    timer = reactor.callLater(timeout, outcome.callback, default)

    def pass_on(result: _T | Failure) -> _T | Failure | None:
        if timer.active():
            timer.cancel()
            outcome.callback(result)
        return None if isinstance(result, Failure) else result

    deferred.addBoth(pass_on)
    return await outcome
