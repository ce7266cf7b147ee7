"""When a room flushes."""

from __future__ import annotations

import pytest

from canvas_collab.rooms.pacing import FlushPacer


def test_a_quiet_room_flushes_at_once() -> None:
    assert FlushPacer(share=0.5, max_window=0.04).delay(now=100.0) == 0


def test_after_an_expensive_flush_the_next_waits_so_that_flushing_takes_its_share() -> None:
    pace = FlushPacer(share=0.25, max_window=10)
    now = 0.0
    for _ in range(50):
        pace.flushed(now, now + 0.010)
        now += 0.010
        delay = pace.delay(now)
        now += delay
    assert delay == pytest.approx(0.030, rel=0.01)


def test_time_that_has_passed_since_the_flush_counts_as_waiting() -> None:
    pace = FlushPacer(share=0.5, max_window=10)
    for _ in range(50):
        pace.flushed(0.0, 0.010)
    assert pace.delay(0.015) == pytest.approx(0.005, rel=0.01)
    assert pace.delay(0.5) == 0


def test_no_window_is_longer_than_the_longest() -> None:
    pace = FlushPacer(share=0.1, max_window=0.04)
    pace.flushed(0.0, 5.0)
    assert pace.delay(5.0) == 0.04


def test_one_slow_flush_is_forgotten_as_cheap_ones_follow() -> None:
    pace = FlushPacer(share=0.5, max_window=10)
    pace.flushed(0.0, 1.0)
    for _ in range(50):
        pace.flushed(1.0, 1.0001)
    assert pace.delay(1.0001) < 0.001
