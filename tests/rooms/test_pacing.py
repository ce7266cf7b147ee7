"""How long a flush is delayed."""

from __future__ import annotations

import pytest

from canvas_collab.rooms.pacing import FlushPacer


def test_without_earlier_flushes_there_is_no_delay() -> None:
    assert FlushPacer(share=0.5, max_window=0.04).delay(now=100.0) == 0


def test_after_expensive_flushes_the_delay_keeps_flushing_at_its_share() -> None:
    pacer = FlushPacer(share=0.25, max_window=10)
    now = 0.0
    for _ in range(50):
        pacer.flushed(now, now + 0.010)
        now += 0.010
        delay = pacer.delay(now)
        now += delay
    assert delay == pytest.approx(0.030, rel=0.01)


def test_time_since_the_last_flush_counts_towards_the_delay() -> None:
    pacer = FlushPacer(share=0.5, max_window=10)
    for _ in range(50):
        pacer.flushed(0.0, 0.010)
    assert pacer.delay(0.015) == pytest.approx(0.005, rel=0.01)
    assert pacer.delay(0.5) == 0


def test_the_delay_is_limited() -> None:
    pacer = FlushPacer(share=0.1, max_window=0.04)
    pacer.flushed(0.0, 5.0)
    assert pacer.delay(5.0) == 0.04


def test_after_one_slow_flush_cheap_ones_shorten_the_delay_again() -> None:
    pacer = FlushPacer(share=0.5, max_window=10)
    pacer.flushed(0.0, 1.0)
    for _ in range(50):
        pacer.flushed(1.0, 1.0001)
    assert pacer.delay(1.0001) < 0.001
