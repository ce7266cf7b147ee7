"""Turns: so many at once, round those who ask, and nobody keeps others from getting one."""

from __future__ import annotations

from attrs import define
from twisted.internet.defer import Deferred

from canvas_collab.access.fair_semaphore import FairSemaphore


@define(eq=False)
class Socket:
    """Somebody who asks."""

    gone: bool = False


def came(turn: Deferred[bool]) -> bool | None:
    """Whether a turn has come; None while that is open."""
    return bool(turn.result) if turn.called else None


def test_so_many_have_a_turn_at_once_and_each_that_ends_is_the_next_ones() -> None:
    turns = FairSemaphore(2, 10)
    asked = [turns.take(Socket()) for _ in range(4)]
    assert [came(turn) for turn in asked] == [True, True, None, None]
    turns.end()
    assert [came(turn) for turn in asked] == [True, True, True, None]
    turns.end()
    turns.end()
    turns.end()
    again = [turns.take(Socket()) for _ in range(3)]
    assert [came(turn) for turn in again] == [True, True, None]


def test_one_who_asks_for_many_gets_one_when_the_others_have_had_one() -> None:
    turns = FairSemaphore(1, 100)
    greedy, others = Socket(), [Socket(), Socket()]
    turns.take(greedy)
    many = [turns.take(greedy) for _ in range(50)]
    modest = [turns.take(other) for other in others]
    for _ in range(3):
        turns.end()
    assert [came(turn) for turn in modest] == [True, True]
    assert [came(turn) for turn in many].count(True) == 1
    assert came(many[0])


def test_where_too_many_wait_one_who_has_most_of_it_gives_way() -> None:
    turns = FairSemaphore(1, 4)
    greedy = Socket()
    turns.take(greedy)
    many = [turns.take(greedy) for _ in range(4)]
    assert came(turns.take(greedy)) is False
    modest = [turns.take(Socket()) for _ in range(3)]
    assert [came(turn) for turn in modest] == [None] * 3
    assert [came(turn) for turn in many] == [None, False, False, False]
    # Now each has one, and whoever comes is the one too many.
    assert came(turns.take(Socket())) is False
    assert len(turns) == 4


def test_a_turn_is_not_wasted_on_one_who_has_gone_or_no_longer_waits() -> None:
    turns = FairSemaphore(1, 10)
    turns.take(Socket())
    gone = Socket()
    for_nobody, cancelled, wanted = turns.take(gone), turns.take(Socket()), turns.take(Socket())
    gone.gone = True
    cancelled.addErrback(lambda failure: None)
    cancelled.cancel()
    turns.end()
    assert (came(for_nobody), came(wanted)) == (False, True)
    assert len(turns) == 0


def test_turns_that_are_over_at_once_do_not_pile_up() -> None:
    turns = FairSemaphore(1, 10_000)
    turns.take(Socket())
    ended = []

    def end(_came: bool) -> None:
        ended.append(1)
        turns.end()

    for _ in range(10_000):
        turns.take(Socket()).addCallback(end)
    turns.end()
    assert len(ended) == 10_000
    assert came(turns.take(Socket()))
