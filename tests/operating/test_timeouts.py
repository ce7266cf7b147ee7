"""Waiting for a Deferred with a timeout that cancels nothing."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from canvas_collab.timeouts import wait_at_most


def test_a_result_within_the_timeout_is_returned() -> None:
    clock = Clock()
    result: Deferred[int] = Deferred()
    waiting = Deferred.fromCoroutine(wait_at_most(clock, result, 1.0, 0))
    clock.advance(0.5)
    result.callback(7)
    assert waiting.result == 7
    assert clock.getDelayedCalls() == []


def test_after_the_timeout_the_default_is_returned_and_nothing_is_cancelled() -> None:
    clock = Clock()
    cancelled: list[Deferred[int]] = []
    result: Deferred[int] = Deferred(cancelled.append)
    waiting = Deferred.fromCoroutine(wait_at_most(clock, result, 1.0, 0))
    clock.advance(1.0)
    assert waiting.result == 0
    result.callback(7)
    assert result.result == 7
    assert cancelled == []


def test_a_failure_within_the_timeout_is_raised_and_a_later_one_is_not_left_unhandled() -> None:
    clock = Clock()
    early: Deferred[int] = Deferred()
    waiting = Deferred.fromCoroutine(wait_at_most(clock, early, 1.0, 0))
    early.errback(RuntimeError("early"))
    failures: list[Failure] = []
    waiting.addErrback(failures.append)
    assert [str(failure.value) for failure in failures] == ["early"]

    late: Deferred[int] = Deferred()
    waiting = Deferred.fromCoroutine(wait_at_most(clock, late, 1.0, 0))
    clock.advance(1.0)
    late.errback(RuntimeError("late"))
    assert (waiting.result, late.result) == (0, None)
