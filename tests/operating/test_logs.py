"""Events that clients can cause at will do not fill the log."""

from __future__ import annotations

from twisted.internet.task import Clock

from canvas_collab.logs import RATE_LIMIT_INTERVAL, LogRateLimiter


def test_the_first_few_events_of_a_kind_are_logged_and_the_others_counted_once_an_interval() -> None:
    clock = Clock()
    suppressed: list[int] = []
    rate_limiter = LogRateLimiter(clock, 2, 100, suppressed.append)
    assert [rate_limiter.admits("a") for _ in range(5)] == [True, True, False, False, False]
    assert rate_limiter.admits("b")
    assert suppressed == []
    clock.advance(RATE_LIMIT_INTERVAL)
    assert suppressed == [3]
    assert rate_limiter.admits("a")
    clock.advance(RATE_LIMIT_INTERVAL)
    assert suppressed == [3]
    assert clock.getDelayedCalls() == []


def test_events_of_all_kinds_together_are_limited() -> None:
    rate_limiter = LogRateLimiter(Clock(), 2, 10)
    assert [rate_limiter.admits(number) for number in range(1000)].count(True) == 10
