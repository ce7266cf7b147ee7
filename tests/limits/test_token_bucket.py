"""The token bucket, beside one that looks at the clock every time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from canvas_collab.limits.token_bucket import TokenBucket

#: Seconds between attempts, and how many tokens each takes.
attempts = st.lists(st.tuples(st.floats(0, 20), st.integers(1, 30)), max_size=60)

RATE, BURST = 5.0, 4.0
CAPACITY = RATE * BURST


class ExactBucket:
    """A token bucket that is refilled all the time."""

    def __init__(self) -> None:
        self.left = CAPACITY
        self.at = 0.0

    def take(self, now: float) -> bool:
        self.left = min(CAPACITY, self.left + (now - self.at) * RATE)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


def take(bucket: TokenBucket, now: float) -> bool:
    if bucket.left < 1:
        bucket.refill(now)
    if bucket.left < 1:
        return False
    bucket.left -= 1
    return True


@given(attempts)
def test_it_gives_no_less_than_an_exact_bucket_and_at_most_one_burst_more(steps: list[tuple[float, int]]) -> None:
    bucket, exact, now = TokenBucket(RATE, BURST, 0.0), ExactBucket(), 0.0
    taken = taken_exactly = 0
    for pause, count in steps:
        now += pause
        for _ in range(count):
            taken += take(bucket, now)
            taken_exactly += exact.take(now)
        # What cannot be told apart by rounding may be one token.
        assert taken >= taken_exactly - 1
        assert taken <= CAPACITY + RATE * now + 1


@given(attempts)
def test_in_any_interval_it_gives_at_most_two_bursts_and_the_rate(steps: list[tuple[float, int]]) -> None:
    bucket, now = TokenBucket(RATE, BURST, 0.0), 0.0
    times: list[float] = []
    for pause, count in steps:
        now += pause
        times.extend(now for _ in range(count) if take(bucket, now))
    for first, began in enumerate(times):
        for last in range(first, len(times)):
            assert last - first + 1 <= 2 * CAPACITY + RATE * (times[last] - began) + 1


@given(st.floats(0, 1e9))
def test_a_bucket_without_a_rate_is_never_empty(now: float) -> None:
    bucket = TokenBucket(0, BURST, 0.0)
    bucket.left -= 10**12
    assert bucket.left > 10**12
    bucket.refill(now)
    assert bucket.left > 10**12
    assert bucket.seconds_until(10**15) == 0


def test_a_debt_is_paid_at_the_rate() -> None:
    bucket = TokenBucket(RATE, BURST, 0.0)
    bucket.left -= CAPACITY + 10
    assert bucket.seconds_until(0) == 10 / RATE
    bucket.refill(1.0)
    assert bucket.left == RATE - 10
    bucket.refill(1000.0)
    assert bucket.left == CAPACITY
    assert bucket.seconds_until(1) == 0
