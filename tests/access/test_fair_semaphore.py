"""The semaphore that limits lookups: how many hold it at once, and how the waiting sockets share it."""

from __future__ import annotations

from attrs import define
from twisted.internet.defer import Deferred

from canvas_collab.access.fair_semaphore import FairSemaphore


@define(eq=False)
class Socket:
    """A client's socket, connected until `is_closing` is set."""

    is_closing: bool = False


def acquired(request: Deferred[bool]) -> bool | None:
    """Whether a request acquired the semaphore; None while it waits."""
    return bool(request.result) if request.called else None


def test_a_limited_number_hold_it_at_once_and_each_release_grants_the_next_request() -> None:
    semaphore = FairSemaphore(2, 10)
    requests = [semaphore.acquire(Socket()) for _ in range(4)]
    assert [acquired(request) for request in requests] == [True, True, None, None]
    semaphore.release()
    assert [acquired(request) for request in requests] == [True, True, True, None]
    semaphore.release()
    semaphore.release()
    semaphore.release()
    again = [semaphore.acquire(Socket()) for _ in range(3)]
    assert [acquired(request) for request in again] == [True, True, None]


def test_a_socket_with_many_requests_waits_for_those_with_one() -> None:
    semaphore = FairSemaphore(1, 100)
    greedy, others = Socket(), [Socket(), Socket()]
    semaphore.acquire(greedy)
    many = [semaphore.acquire(greedy) for _ in range(50)]
    modest = [semaphore.acquire(other) for other in others]
    for _ in range(3):
        semaphore.release()
    assert [acquired(request) for request in modest] == [True, True]
    assert [acquired(request) for request in many].count(True) == 1
    assert acquired(many[0])


def test_when_the_queue_is_full_the_socket_with_most_requests_loses_its_latest() -> None:
    semaphore = FairSemaphore(1, 4)
    greedy = Socket()
    semaphore.acquire(greedy)
    many = [semaphore.acquire(greedy) for _ in range(4)]
    assert acquired(semaphore.acquire(greedy)) is False
    modest = [semaphore.acquire(Socket()) for _ in range(3)]
    assert [acquired(request) for request in modest] == [None] * 3
    assert [acquired(request) for request in many] == [None, False, False, False]
    # Now each socket has one, so the next new request is refused.
    assert acquired(semaphore.acquire(Socket())) is False
    assert len(semaphore) == 4


def test_requests_that_were_cancelled_or_whose_socket_is_closing_are_skipped() -> None:
    semaphore = FairSemaphore(1, 10)
    semaphore.acquire(Socket())
    closing = Socket()
    of_closing, cancelled, waiting = (semaphore.acquire(socket) for socket in (closing, Socket(), Socket()))
    closing.is_closing = True
    cancelled.addErrback(lambda failure: None)
    cancelled.cancel()
    semaphore.release()
    assert (acquired(of_closing), acquired(waiting)) == (False, True)
    assert len(semaphore) == 0


def test_releases_within_callbacks_do_not_recurse() -> None:
    semaphore = FairSemaphore(1, 10_000)
    semaphore.acquire(Socket())
    released = []

    def release(_acquired: bool) -> None:
        released.append(1)
        semaphore.release()

    for _ in range(10_000):
        semaphore.acquire(Socket()).addCallback(release)
    semaphore.release()
    assert len(released) == 10_000
    assert acquired(semaphore.acquire(Socket()))
