"""How long a client may be slowed down."""

from __future__ import annotations

from canvas_collab.limits.slow_time import RECOVERY, SlowTime


def test_the_time_adds_up_until_the_client_has_recovered() -> None:
    slow = SlowTime(10.0)
    assert slow.begin(0.0)
    slow.add(6.0)
    assert not slow.is_over
    assert not slow.begin(RECOVERY)
    slow.add(4.5)
    assert slow.is_over
    assert slow.begin(RECOVERY * 2 + 1)
    assert not slow.is_over


def test_with_0_it_is_never_too_long() -> None:
    slow = SlowTime(0.0)
    slow.begin(0.0)
    slow.add(1e9)
    assert not slow.is_over
