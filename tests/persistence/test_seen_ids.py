"""The ids of the log entries that were seen."""

from __future__ import annotations

import random

import pytest
from attrs import Factory, define

from canvas_collab.persistence import seen_ids as seen_module
from canvas_collab.persistence.seen_ids import INITIAL_MARGIN, LONGEST_TRANSACTION, MAX_ID, LogHorizon, SeenIds


def started(newest: int = INITIAL_MARGIN) -> SeenIds:
    seen = SeenIds()
    seen.start(LogHorizon(newest, 1, 2))
    return seen


def test_there_are_no_gaps_before_the_start_and_then_from_a_margin_below_the_newest_id() -> None:
    seen = SeenIds()
    assert (seen.is_started, seen.gaps()) == (False, ([], []))
    seen.add(5, 6)
    seen.add(INITIAL_MARGIN + 3, INITIAL_MARGIN + 4)
    seen.start(LogHorizon(INITIAL_MARGIN + 6, 1, 2))
    assert seen.gaps() == ([7, INITIAL_MARGIN + 5], [INITIAL_MARGIN + 2, MAX_ID])


def test_gaps_are_the_ids_between_those_that_were_seen() -> None:
    seen = started()
    for first, last in ((10, 12), (20, 20), (13, 15), (1, 2), (18, 19), (3, 3), (11, 14)):
        seen.add(first, last)
    assert seen.gaps() == ([1, 4, 16, 21], [0, 9, 17, MAX_ID])


def test_the_floor_is_raised_only_when_every_transaction_of_that_time_has_ended() -> None:
    seen = started()
    seen.advance(LogHorizon(100, oldest_running=7, next_transaction=9), 0)
    # Transactions of the first horizon are still running.
    seen.advance(LogHorizon(200, oldest_running=8, next_transaction=30), 1)
    assert seen.gaps()[0][0] == 1
    seen.advance(LogHorizon(300, oldest_running=9, next_transaction=40), 2)
    assert seen.gaps()[0][0] == 1
    seen.advance(LogHorizon(400, oldest_running=40, next_transaction=50), 3)
    assert seen.gaps()[0][0] == 101
    seen.add(50, 60)
    seen.add(90, 110)
    assert seen.gaps() == ([101, 111], [100, MAX_ID])


def test_a_transaction_that_does_not_end_keeps_the_floor_down_for_a_limited_time() -> None:
    seen = started()
    for number in range(4):
        seen.advance(LogHorizon(100 * number, oldest_running=7, next_transaction=9), number * (LONGEST_TRANSACTION + 1))
    assert seen.gaps()[0][0] == 101


def test_the_number_of_ranges_is_limited_and_the_shortest_are_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(seen_module, "MAX_RANGES", 10)
    seen = started()
    seen.add(1000, 2000)
    for number in range(1000):
        seen.add(3 * number + 3000, 3 * number + 3000)
    firsts, lasts = seen.gaps()
    assert len(firsts) <= 11
    assert (firsts[1], lasts[0]) == (2001, 999)


@define
class Transaction:
    number: int | None = None
    ids: list[int] = Factory(list)


@pytest.mark.parametrize("seed", range(30))
def test_every_entry_is_seen_whatever_order_transactions_begin_and_end_in(seed: int) -> None:
    chance = random.Random(seed)
    seen = SeenIds()
    next_id, next_number = INITIAL_MARGIN, 1
    running: list[Transaction] = []
    visible: set[int] = {INITIAL_MARGIN - 1}
    found: set[int] = set()
    for _ in range(2000):
        kind = chance.randrange(10)
        if kind < 3:
            running.append(Transaction(next_number))
            next_number += 1
        elif kind < 6 and running:
            chance.choice(running).ids.append(next_id)
            next_id += 1
        elif kind < 8 and running:
            transaction = running.pop(chance.randrange(len(running)))
            if chance.random() < 0.8:
                visible |= set(transaction.ids)
                if transaction.ids and chance.random() < 0.5:
                    # Its notification arrives.
                    seen.add(transaction.ids[0], transaction.ids[0])
                    found.add(transaction.ids[0])
        else:
            numbers = [transaction.number for transaction in running if transaction.number is not None]
            horizon = LogHorizon(max(visible), min(numbers, default=next_number), next_number)
            seen.start(horizon)
            for first, last in zip(*seen.gaps(), strict=True):
                for one in [one for one in visible if first <= one <= last]:
                    found.add(one)
                    seen.add(one, one)
            seen.advance(horizon, 0)
    assert next_id > INITIAL_MARGIN + 100
    # What was not found yet is in a gap.
    gaps = list(zip(*seen.gaps(), strict=True))
    lost = {one for one in visible - found if not any(first <= one <= last for first, last in gaps)}
    assert lost <= {INITIAL_MARGIN - 1}
