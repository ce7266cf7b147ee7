"""Work in steps: whatever is done in between, nothing is lost, nothing comes twice, and no step is large."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canvas_collab.document import document as document_module
from canvas_collab.document.document import Document, merge_updates
from canvas_collab.protocol import delete_set, steps, structs, update
from canvas_collab.protocol.lib0 import TooLarge, encode_var_uint
from canvas_collab.protocol.state_vector import read_state_vector
from canvas_collab.protocol.steps import RANGES_PER_STEP, VALUES_PER_STEP, Steps, run_to_completion, sort_descending
from canvas_collab.protocol.update import RUN_WEIGHT, Update, decode_update, read_update
from tests.document.test_document import edits

#: A document of which so much is known takes this many steps at most to read.
MEGABYTE = 2**20


@pytest.fixture
def single_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many steps as there can be."""
    for module, name in (
        (document_module, "RUNS_PER_STEP"),
        (update, "RUNS_PER_STEP"),
        (delete_set, "RANGES_PER_STEP"),
        (structs, "STRUCTS_PER_STEP"),
    ):
        monkeypatch.setattr(module, name, 1)
    # The default of a parameter.
    find_gaps = document_module.find_gaps
    monkeypatch.setattr(
        document_module, "find_gaps", lambda runs, start, end, limit=1: find_gaps(runs, start, end, limit)
    )


def side_by_side(chance: random.Random, work: list[Steps[Update]]) -> list[Update]:
    """Do steps of all, in any order; returns their results."""
    results = []
    under_way = list(work)
    while under_way:
        one = chance.choice(under_way)
        try:
            next(one)
        except StopIteration as end:
            results.append(end.value)
            under_way.remove(one)
    return results


@pytest.mark.usefixtures("single_steps")
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(10, 120))
def test_updates_that_are_merged_side_by_side_are_all_there_and_each_part_is_news_once(seed: int, count: int) -> None:
    chance = random.Random(seed)
    updates = [decode_update(data) for data in edits(seed, count)]
    # Merged in groups that overlap, and have gaps.
    groups = [
        decode_update(merge_updates(chance.sample(updates, chance.randint(1, count))))
        for _ in range(chance.randint(2, 6))
    ]
    document = Document(chance.sample(updates, chance.randint(0, count // 2)))
    before = Document([decode_update(document.encode())])
    taken = side_by_side(chance, [document.merge(group) for group in groups])

    expected = Document([before.as_update(), *groups])
    assert document.state_vector == expected.state_vector
    assert not document.lacks_any_of(expected.as_update())
    assert not expected.lacks_any_of(document.as_update())
    assert document.deletions == expected.deletions
    assert document.size == Document([decode_update(document.encode())]).size
    # Every clock is news exactly once.
    news = sum(run.end - run.clock for update in taken for runs in update.runs.values() for run in runs)
    assert news == _clocks(document) - _clocks(before)
    again = Document([before.as_update(), *taken])
    assert again.state_vector == document.state_vector


def _clocks(document: Document) -> int:
    return sum(run.end - run.clock for runs in document.as_update().runs.values() for run in runs)


@pytest.mark.usefixtures("single_steps")
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(5, 60))
def test_what_is_encoded_while_updates_come_in_holds_at_least_what_was_there(seed: int, count: int) -> None:
    chance = random.Random(seed)
    updates = [decode_update(data) for data in edits(seed, count)]
    chance.shuffle(updates)
    document = Document(updates[: count // 2])
    before = Document([decode_update(document.encode())])
    encoding = document.diff({})
    coming = iter(updates[count // 2 :])
    while True:
        try:
            next(encoding)
        except StopIteration as end:
            data = end.value
            break
        if (one := next(coming, None)) is not None:
            document.apply(one)
    shown = Document([decode_update(data)])
    assert not shown.lacks_any_of(before.as_update())
    assert not document.lacks_any_of(shown.as_update())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 80), st.integers(1, 4000))
def test_the_parts_of_an_update_are_updates_that_hold_together_what_it_holds(seed: int, count: int, size: int) -> None:
    whole = decode_update(merge_updates([decode_update(data) for data in edits(seed, count)]))
    parts = list(whole.split(size))
    for part in parts:
        assert decode_update(part.encode()).runs == {client: list(runs) for client, runs in part.runs.items()}
    document = Document(parts)
    assert document.encode() == Document([whole]).encode()


def gc_runs(count: int) -> bytes:
    """An update of so many structs of one clock, each with a gap behind it."""
    return b"\x01" + encode_var_uint(2 * count) + b"\x07\x00" + b"\x00\x01\x0a\x01" * count + b"\x00"


def authors(count: int) -> bytes:
    """An update with a struct of each of so many authors."""
    return (
        encode_var_uint(count)
        + b"".join(b"\x01" + encode_var_uint(one) + b"\x00\x00\x01" for one in range(count))
        + b"\x00"
    )


@pytest.mark.parametrize("make", [gc_runs, authors])
def test_an_update_that_would_take_more_memory_than_it_may_is_refused(make: object) -> None:
    data = make(2000)  # type: ignore[operator]
    assert (
        run_to_completion(run_to_completion(read_update(data, 2000 * RUN_WEIGHT)).compute_weight()) >= 2000 * RUN_WEIGHT
    )
    with pytest.raises(TooLarge):
        run_to_completion(read_update(data, 1000 * RUN_WEIGHT))


def test_the_weight_of_a_document_counts_what_is_kept_and_grows_as_it_does() -> None:
    document = Document()
    for update_ in map(decode_update, (gc_runs(100), authors(50))):
        document.apply(update_)
    assert document.weight >= 149 * RUN_WEIGHT
    assert document.weight == Document([decode_update(document.encode())]).weight
    filled = decode_update(b"\x01\x01\x07\x00\x00\xc8\x01\x00")
    document.apply(filled)
    # The gaps are filled, and the runs have become one.
    assert document.weight <= 60 * RUN_WEIGHT


def test_of_a_state_vector_only_known_clients_are_kept() -> None:
    data = encode_var_uint(5000) + b"".join(encode_var_uint(client) + b"\x01" for client in range(5000))
    assert sum(1 for _ in read_state_vector(data, {3, 4999, 7000})) >= 4
    assert run_to_completion(read_state_vector(data, {3, 4999, 7000})) == {3: 1, 4999: 1}


@given(st.lists(st.integers(0, 2**53), max_size=100))
def test_numbers_that_are_sorted_in_steps_are_in_order(numbers: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "SORTED_PER_STEP", 8)
        assert run_to_completion(sort_descending(numbers)) == sorted(numbers, reverse=True)


def test_of_very_many_authors_a_bounded_number_is_dealt_with_in_one_step() -> None:
    count = 20 * RANGES_PER_STEP
    document = Document([decode_update(authors(count))])
    for author in range(count):
        document.deletions.add(author, 0, 1)
    sorting = sum(1 for _ in sort_descending(range(count)))
    assert sorting >= count // VALUES_PER_STEP
    least = sorting + count // RANGES_PER_STEP
    for _ in range(2):
        # The second time what was encoded is remembered, and looking it all up takes its time as well.
        assert sum(1 for _ in document.deletions.encode_in_steps()) >= least
    for work in (document.diff({}), document.encode_state_vector(), document.encode_layout()):
        assert sum(1 for _ in work) >= least
