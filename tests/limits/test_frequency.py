"""Counting by key in bounded memory."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from canvas_collab.limits.frequency import FrequentKeys

keys = st.lists(st.sampled_from([str(number) for number in range(12)]), max_size=200)


@given(keys, st.integers(1, 15))
def test_a_count_is_never_too_high_and_too_low_by_a_bounded_amount(added: list[str], max_keys: int) -> None:
    counter, exact = FrequentKeys(max_keys), Counter[str]()
    for total, key in enumerate(added, 1):
        exact[key] += 1
        count = counter.add(key)
        assert exact[key] - total / (max_keys + 1) <= count <= exact[key]
        assert len(counter) <= max_keys
    if len(exact) <= max_keys:
        assert {key: counter.add(key) for key in exact} == {key: count + 1 for key, count in exact.items()}


def test_a_key_that_is_forgotten_begins_again() -> None:
    counter = FrequentKeys(2)
    for _ in range(5):
        counter.add("a")
    counter.forget("a")
    counter.forget("never seen")
    assert counter.add("a") == 1
    counter.clear()
    assert len(counter) == 0


def test_a_million_keys_take_no_more_memory_than_the_limit_and_a_frequent_one_is_still_found() -> None:
    counter = FrequentKeys(100)
    counts = []
    for number in range(100_000):
        counter.add(f"network {number}")
        if number % 10 == 0:
            counts.append(counter.add("frequent"))
    assert len(counter) <= 100
    assert max(counts) > 5_000
