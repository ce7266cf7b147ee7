"""Exponential backoff with jitter."""

from __future__ import annotations

from canvas_collab.backoff import Backoff


def test_delays_double_up_to_the_longest_and_are_shortened_at_random() -> None:
    backoff, other = Backoff(0.25, 2.0), Backoff(0.25, 2.0)
    delays = [backoff.next_delay() for _ in range(10)]
    for delay, bound in zip(delays, [0.25, 0.5, 1.0] + [2.0] * 7, strict=True):
        assert bound / 2 <= delay <= bound
    assert delays != [other.next_delay() for _ in range(10)]


def test_after_a_reset_the_first_delay_follows() -> None:
    backoff = Backoff(0.25, 2.0)
    for _ in range(5):
        backoff.next_delay()
    backoff.reset()
    assert backoff.next_delay() <= 0.25
    assert 0.25 <= backoff.next_delay() <= 0.5
