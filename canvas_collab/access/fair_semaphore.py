"""A semaphore that is fair between sockets: a socket with many requests gets no larger share than one with few."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from twisted.internet.defer import Deferred


class Requester(Protocol):
    """A client's socket that acquires the semaphore."""

    @property
    def is_closing(self) -> bool:
        """Whether the client has disconnected, so that its requests need not be served."""


class FairSemaphore:
    """Grants requests round-robin over the sockets, one of each, however many each of them has waiting.

    When the queue is full, a new request takes the place of the latest one of the socket with the most waiting
    requests, if that socket has more than the requester would have; otherwise the new request is refused.
    """

    def __init__(self, limit: int, max_waiting: int) -> None:
        """:param limit: how many requests may hold the semaphore at the same time.
        :param max_waiting: how many requests may wait for it.
        """
        self._free = limit
        self._max_waiting = max_waiting
        self._waiting_count = 0
        # In the order in which the sockets are served.
        self._waiting: dict[Requester, deque[Deferred[bool]]] = {}
        self._is_granting = False

    def __len__(self) -> int:
        """Return how many requests wait."""
        return self._waiting_count

    def acquire(self, requester: Requester) -> Deferred[bool]:
        """Wait for the semaphore.

        The Deferred fires with True when it is acquired, which :meth:`release` ends, and with False if the request is
        refused or the requester is closing.  Cancelling the Deferred withdraws the request.
        """
        if self._free and not self._waiting:
            self._free -= 1
            request: Deferred[bool] = Deferred()
            request.callback(True)
            return request
        request = Deferred(lambda cancelled: self._withdraw(requester, cancelled))
        waiting = self._waiting.get(requester)
        if self._waiting_count >= self._max_waiting and not self._drop_latest(len(waiting) if waiting else 0):
            request.callback(False)
            return request
        self._waiting.setdefault(requester, deque()).append(request)
        self._waiting_count += 1
        return request

    def release(self) -> None:
        """Release the semaphore, and grant the next request."""
        self._free += 1
        if self._is_granting:
            # A request that was released during its callback: the loop below continues, so the stack does not grow.
            return
        self._is_granting = True
        try:
            while self._free and self._waiting:
                self._grant_next()
        finally:
            self._is_granting = False

    def _grant_next(self) -> None:
        requester = next(iter(self._waiting))
        waiting = self._waiting.pop(requester)
        request = waiting.popleft()
        self._waiting_count -= 1
        if waiting:
            self._waiting[requester] = waiting
        if requester.is_closing:
            request.callback(False)
        else:
            self._free -= 1
            request.callback(True)

    def _drop_latest(self, count: int) -> bool:
        """Refuse the latest request of the socket with the most, unless a socket with `count` would then have as many.

        Returns whether one was refused.
        """
        requester = max(self._waiting, key=lambda each: len(self._waiting[each]))
        waiting = self._waiting[requester]
        if len(waiting) <= count + 1:
            return False
        self._waiting_count -= 1
        waiting.pop().callback(False)
        return True

    def _withdraw(self, requester: Requester, request: Deferred[bool]) -> None:
        waiting = self._waiting[requester]
        waiting.remove(request)
        self._waiting_count -= 1
        if not waiting:
            del self._waiting[requester]
