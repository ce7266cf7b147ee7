"""Documents that are changed between the steps of other work on them: no update is lost, and none is new twice."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canvas_collab.document import document as document_module
from canvas_collab.document.document import Document, merge_updates
from canvas_collab.document.run_list import find_gaps
from canvas_collab.protocol import delete_set, run_reader, structs, update
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.ranges import Range
from canvas_collab.protocol.steps import RANGES_PER_STEP, Steps
from canvas_collab.protocol.structs import Run
from canvas_collab.protocol.update import Update, decode_update
from tests.support.updates import edits


@pytest.fixture
def one_unit_per_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make steps as small as possible."""
    for module, name in (
        (document_module, "RUNS_PER_STEP"),
        (update, "RUNS_PER_STEP"),
        (delete_set, "RANGES_PER_STEP"),
        (structs, "STRUCTS_PER_STEP"),
        (run_reader, "STRUCTS_PER_STEP"),
    ):
        monkeypatch.setattr(module, name, 1)

    def find_one_gap(runs: Sequence[Run], start: int, end: int, limit: int = 1) -> tuple[list[Range], int]:
        return find_gaps(runs, start, end, limit)

    # The default of its parameter is bound already.
    monkeypatch.setattr(document_module, "find_gaps", find_one_gap)


def run_interleaved(chance: random.Random, work: list[Steps[Update]]) -> list[Update]:
    """Run work in steps, interleaved in random order; returns the results."""
    results = []
    running = list(work)
    while running:
        one = chance.choice(running)
        try:
            next(one)
        except StopIteration as end:
            results.append(end.value)
            running.remove(one)
    return results


@pytest.mark.usefixtures("one_unit_per_step")
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(10, 120))
def test_no_update_is_lost_in_interleaved_merges_and_each_part_is_new_once(seed: int, count: int) -> None:
    chance = random.Random(seed)
    updates = [decode_update(data) for data in edits(seed, count)]
    # The groups overlap, and have gaps.
    groups = [
        decode_update(merge_updates(chance.sample(updates, chance.randint(1, count))))
        for _ in range(chance.randint(2, 6))
    ]
    document = Document(chance.sample(updates, chance.randint(0, count // 2)))
    before = Document([decode_update(document.encode())])
    new_parts = run_interleaved(chance, [document.merge(group) for group in groups])

    expected = Document([before.as_update(), *groups])
    assert document.state_vector == expected.state_vector
    assert not document.lacks_any_of(expected.as_update())
    assert not expected.lacks_any_of(document.as_update())
    assert document.deletions == expected.deletions
    assert document.size == Document([decode_update(document.encode())]).size
    # Every clock is new exactly once.
    new_clocks = sum(run.end - run.clock for update in new_parts for runs in update.runs.values() for run in runs)
    assert new_clocks == clock_count(document) - clock_count(before)
    again = Document([before.as_update(), *new_parts])
    assert again.state_vector == document.state_vector


def clock_count(document: Document) -> int:
    return sum(run.end - run.clock for runs in document.as_update().runs.values() for run in runs)


@pytest.mark.usefixtures("one_unit_per_step")
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(5, 60))
def test_an_encoding_interleaved_with_updates_has_everything_from_before(seed: int, count: int) -> None:
    chance = random.Random(seed)
    updates = [decode_update(data) for data in edits(seed, count)]
    chance.shuffle(updates)
    document = Document(updates[: count // 2])
    before = Document([decode_update(document.encode())])
    encoding = document.diff({})
    later = iter(updates[count // 2 :])
    while True:
        try:
            next(encoding)
        except StopIteration as end:
            data = end.value
            break
        if (one := next(later, None)) is not None:
            document.apply(one)
    shown = Document([decode_update(data)])
    assert not shown.lacks_any_of(before.as_update())
    assert not document.lacks_any_of(shown.as_update())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 100), st.randoms(use_true_random=False))
def test_merging_at_once_gives_what_merging_in_steps_gives_or_changes_nothing(
    seed: int, count: int, order: random.Random
) -> None:
    updates = edits(seed, count)
    # Some arrive late, and some twice.
    for _ in range(3):
        updates.insert(order.randrange(len(updates)), updates.pop(order.randrange(len(updates))))
    updates += order.choices(updates, k=3)
    at_once, in_steps = Document(), Document()
    for data in updates:
        before = at_once.encode(), at_once.version, at_once.weight
        new = at_once.merge_at_once(decode_update(data))
        if new is None:
            assert before == (at_once.encode(), at_once.version, at_once.weight)
            new = at_once.apply(decode_update(data))
        assert new == in_steps.apply(decode_update(data))
        assert (at_once.encode(), at_once.clocks) == (in_steps.encode(), in_steps.clocks)
        assert (at_once.version, at_once.weight) == (in_steps.version, in_steps.weight)


def test_what_may_take_many_steps_is_not_merged_at_once() -> None:
    known = decode_update(b"\x01\x01\x01\x00" + b"\x00\x0a" + b"\x00")
    document = Document([known])
    assert document.merge_at_once(known) is None
    many = DeleteSet()
    many.add(1, 0, RANGES_PER_STEP + 1)
    assert document.merge_at_once(Update({}, many)) is None
    few = DeleteSet()
    few.add(1, 0, 10)
    assert document.merge_at_once(Update({}, few)) == Update({}, few)
    assert document.deletions == few
