"""The cost model of the benchmarks: its formulas, and that fitting finds the constants that loads were made with."""

from __future__ import annotations

import pytest
from attrs import evolve

from benchmarks.cost_model import (
    Constants,
    Counts,
    Machine,
    Sample,
    Shape,
    commits,
    counts_of,
    fit,
    flushes,
    least_squares,
    limits,
    predict,
)

CONSTANTS = Constants(
    edit=40e-6,
    cursor=20e-6,
    wake=60e-6,
    flush=15e-6,
    send=6e-6,
    commit=400e-6,
    idle=0.002,
    database_edit=30e-6,
    database_commit=200e-6,
    wal_edit=200,
    wal_commit=120,
    connection=12_000,
    room=20_000,
    document=1.5,
    base=50e6,
)


def sample_of(counts: Counts) -> Sample:
    """What the constants would make of it, without any window or formula for counts."""
    waking = counts.received * CONSTANTS.wake
    busy = (
        CONSTANTS.idle
        + counts.edits * CONSTANTS.edit
        + counts.cursors * CONSTANTS.cursor
        + counts.flushes * CONSTANTS.flush
        + counts.sends * CONSTANTS.send
        + counts.commits * CONSTANTS.commit
    )
    return Sample(
        counts,
        (busy + waking) / (1 + waking),
        counts.edits * CONSTANTS.database_edit + counts.commits * CONSTANTS.database_commit,
        counts.edits * CONSTANTS.wal_edit + counts.commits * CONSTANTS.wal_commit,
    )


def test_rooms_with_few_edits_are_flushed_for_each_and_busy_ones_once_a_window() -> None:
    assert flushes(0, 0.01) == 0
    assert flushes(2, 0.0001) == pytest.approx(2, rel=1e-3)
    assert flushes(100_000, 0.001) == pytest.approx(1000, rel=1e-3)
    assert flushes(1000, 0.001) < min(1000, 1 / 0.001)


def test_commits_are_no_more_than_edits_and_no_more_than_the_interval_allows() -> None:
    assert commits(0) == 0
    assert commits(0.5) == pytest.approx(0.5, rel=0.02)
    assert commits(1_000_000) == pytest.approx(50, rel=1e-3)


def test_an_edit_is_sent_to_the_others_and_merged_edits_of_several_to_everyone() -> None:
    quiet = counts_of(Shape(10, 5, edits=1, writers=1), Constants(send=5e-6))
    assert quiet.sends == pytest.approx(40, rel=1e-3)
    busy = counts_of(Shape(1, 100, edits=20_000, writers=100), Constants(send=5e-6))
    assert busy.sends == pytest.approx(100 / (100 * 5e-6 / 0.5), rel=0.01)


def test_the_longest_window_bounds_how_long_edits_wait() -> None:
    huge = counts_of(Shape(1, 100_000, edits=10_000, writers=2), Constants(send=5e-6))
    assert huge.sends / 100_000 == pytest.approx(1 / (0.04 + 0.5), rel=0.01)


def test_cursors_are_sent_at_most_200_times_a_second() -> None:
    assert counts_of(Shape(1, 10, cursors=10_000), Constants(send=1e-9)).sends == pytest.approx(2000, rel=0.01)


def test_fitting_finds_the_constants() -> None:
    counts = [
        Counts(20, 0, 20, 14, 20),
        Counts(360, 0, 720, 43, 360),
        Counts(10, 0, 1490, 8, 10),
        Counts(1000, 0, 25_000, 48, 500),
        Counts(1000, 0, 9000, 48, 1000),
        Counts(10_000, 0, 10_000, 49, 10_000),
        Counts(3600, 0, 70_000, 49, 1200),
        Counts(0, 600, 9000, 0, 150),
        Counts(0, 400, 1200, 0, 400),
    ]
    fitted = fit([sample_of(count) for count in counts], CONSTANTS.idle)
    for name in ("edit", "cursor", "wake", "flush", "send", "commit", "database_edit", "database_commit", "wal_edit"):
        assert getattr(fitted, name) == pytest.approx(getattr(CONSTANTS, name), rel=0.02), name


def test_no_constant_is_negative() -> None:
    assert least_squares([[1, 1], [2, 1], [3, 1]], [3, 2, 1])[0] == 0


def test_a_prediction_is_the_sum_of_its_parts_and_more_rooms_cost_more() -> None:
    assert predict(CONSTANTS, Shape(1, 5)).cpu == CONSTANTS.idle
    room = Shape(1, 5, edits=10, writers=5)
    one, many = predict(CONSTANTS, room), predict(CONSTANTS, evolve(room, rooms=100))
    assert one.cpu < many.cpu < 100 * one.cpu
    assert many.wal == pytest.approx(1000 * 200 + many.counts.commits * 120)
    assert many.memory == 50e6 + 100 * (20_000 + 5 * 12_000)


def test_a_core_that_is_too_small_is_predicted_to_need_more_than_one() -> None:
    assert predict(CONSTANTS, Shape(10_000, 5, edits=10, writers=5)).cpu > 1


def test_the_first_limit_depends_on_what_people_do() -> None:
    machine = Machine()

    def first(room: Shape, document: float) -> str:
        carried = limits(CONSTANTS, room, machine, document)
        return min((name for name in carried if name != "CPU of one core"), key=carried.__getitem__)

    assert first(Shape(1, 5), 5e6) == "memory"
    assert first(Shape(1, 100, edits=2000, writers=100), 0) == "CPU of all cores"
    assert first(Shape(1, 5), 0) == "open files"
    assert limits(CONSTANTS, Shape(1, 5, edits=10), machine)["CPU of all cores"] == pytest.approx(
        4 * limits(CONSTANTS, Shape(1, 5, edits=10), machine)["CPU of one core"]
    )


def test_constants_survive_being_written_among_measures() -> None:
    assert Constants.from_measures({**CONSTANTS.measures(), "cpu": 1.0}) == CONSTANTS
