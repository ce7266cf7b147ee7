"""The targets of the benchmarks."""

from __future__ import annotations

import pytest

from benchmarks.targets import TIMES, Target

NODE = {"hocuspocus-4": {"p99": 60.0, "server_busy": 50.0}, "y-websocket-server": {"p99": 40.0, "server_busy": 99.0}}


def test_the_better_rival_counts() -> None:
    judgement = Target("p99", 0.5).judge({"p99": 20.0}, NODE)
    assert (judgement.best, judgement.met) == (40, True)
    assert Target("p99", 0.5).judge({"p99": 20.1}, NODE).met is False


def test_where_more_is_better_the_highest_counts() -> None:
    others = {"hocuspocus-4": {"updates": 10.0}, "y-websocket-server": {"updates": 20.0}}
    judgement = Target("updates", 4, more=True).judge({"updates": 79.0}, others)
    assert (judgement.best, judgement.met) == (20, False)


@pytest.mark.parametrize(("value", "met"), [(17.0, True), (18.0, False), (25.0, False)])
def test_each_of_several_bounds_has_to_hold(value: float, met: bool) -> None:
    others = {"hocuspocus-4": {"cpu": 40.0}, "floor": {"cpu": 7.0}}
    judgement = Target("cpu", 0.5, floor=2.5).judge({"cpu": value}, others)
    assert (judgement.floor, judgement.met) == (7, met)


def test_without_what_it_is_compared_with_a_target_is_neither_met_nor_missed_unless_another_bound_is_missed() -> None:
    target = Target("cpu", 0.5, floor=2.5)
    assert target.judge({"cpu": 1.0}, {}).met is None
    assert target.judge(None, {"floor": {"cpu": 7.0}}).met is None
    assert target.judge({"cpu": 18.0}, {"floor": {"cpu": 7.0}}).met is False


def test_some_ratios_hold_only_where_the_better_rival_is_busy() -> None:
    target = Target("p99", 1 / 20, limit=5, if_busy=True)
    assert target.judge({"p99": 3.0}, NODE).met is False
    idle = {name: {**measures, "server_busy": 50.0} for name, measures in NODE.items()}
    assert target.judge({"p99": 3.0}, idle).met is True
    assert target.judge({"p99": 6.0}, idle).met is False


def test_the_aim_is_shown_with_all_its_bounds() -> None:
    assert Target("p99", 1 / 20, limit=5, if_busy=True).aim == f"≤ 0.05 {TIMES} if busy, ≤ 5"
    assert Target("cpu", 0.5, floor=2.5).aim == f"≤ 0.5 {TIMES}, ≤ 2.5 {TIMES} floor"
