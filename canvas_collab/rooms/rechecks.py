"""When connections are rechecked: all of them at an interval, and some at once when their access may have changed."""

from __future__ import annotations

from itertools import islice

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import Cooperator, LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from canvas_collab.backoff import Backoff
from canvas_collab.database.errors import DatabaseUnavailable
from canvas_collab.logs import LogRateLimiter
from canvas_collab.rooms.access_changes import AccessChanges
from canvas_collab.rooms.connection import Connection
from canvas_collab.rooms.rechecking import Rechecker
from canvas_collab.rooms.rooms import Rooms
from canvas_collab.scheduling import run

#: Notifications of so many seconds are handled together.
COALESCING_DELAY = 0.02

#: The bounds of the delays after which rechecks that an outage has made fail are retried, in seconds.
FIRST_RETRY_DELAY = 0.25
LONGEST_RETRY_DELAY = 2.0

#: How many notifications with an invalid payload are logged in an interval.
MAX_LOGGED_PAYLOADS = 5


class Rechecks(Service):
    """Queues connections for the rechecker, and hands it one batch after the other.

    Between two batches it rests for as long as the last one took, so that rechecks, however many are asked for, leave
    half of the time to other work.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        rooms: Rooms,
        rechecker: Rechecker,
        cooperator: Cooperator,
        interval: float,
        room_prefix: str,
    ) -> None:
        """:param interval: how often all connections are rechecked, in seconds."""
        #: How many changes of access were notified.
        self.change_count = 0
        self._reactor = reactor
        self._rooms = rooms
        self._rechecker = rechecker
        self._cooperator = cooperator
        self._interval = interval
        self._prefix = room_prefix
        self._changes = AccessChanges()
        self._is_everybody_due = False
        # The connections that are to be rechecked, and whether to ask each for a new token: those whose access may have
        # changed, and the others.  If there are both, they take turns, so that however often changes are notified, all
        # are rechecked at the interval.
        self._urgent: dict[Connection, bool] = {}
        self._waiting: dict[Connection, bool] = {}
        self._was_urgent = False
        self._is_working = False
        self._call: IDelayedCall | None = None
        self._resting_until = 0.0
        self._backoff = Backoff(FIRST_RETRY_DELAY, LONGEST_RETRY_DELAY)
        self._log_limiter = LogRateLimiter(reactor, MAX_LOGGED_PAYLOADS, MAX_LOGGED_PAYLOADS)
        self._loop = LoopingCall(self._recheck_everybody)
        self._loop.clock = reactor

    def startService(self) -> None:
        """Start to recheck all connections at the interval."""
        Service.startService(self)
        self._loop.start(self._interval, now=False)

    def stopService(self) -> None:
        """Stop after the batch that is being rechecked."""
        Service.stopService(self)
        self._loop.stop()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def access_changed(self, payload: str) -> None:
        """The application has notified a change of access; :mod:`.access_changes` has the payload's forms."""
        if self._changes.add(payload, self._prefix):
            self.change_count += 1
            self._schedule()
        elif self._log_limiter.admits("payload"):
            # Without the payload, which could be anything, a token too.
            reason = "the payload is neither empty nor user:ID nor diagram:ID"
            self.log.warn("access notification ignored", reason=reason)

    def notifications_missed(self) -> None:
        """Notifications may have been missed: recheck everybody."""
        self.access_changed("")

    def authorized(self, connection: Connection, change_count: int) -> None:
        """Recheck a connection that was just authorized, if a change of access was notified meanwhile.

        :param change_count: that of when its authorization began.
        """
        if change_count != self.change_count:
            self._urgent.setdefault(connection, False)
            self._schedule()

    def _recheck_everybody(self) -> None:
        self._is_everybody_due = True
        self._schedule()

    def _schedule(self) -> None:
        """Schedule the next batch, if anything is due."""
        is_due = self._changes or self._is_everybody_due or self._urgent or self._waiting
        if is_due and self.running and not self._is_working and self._call is None:
            delay = max(COALESCING_DELAY, self._resting_until - self._reactor.seconds())
            self._call = self._reactor.callLater(delay, self._begin)

    def _begin(self) -> None:
        self._call = None
        self._is_working = True
        working = Deferred.fromCoroutine(self._recheck_batch())
        working.addErrback(self._failed)
        working.addBoth(self._finished)

    def _failed(self, failure: Failure) -> None:
        self.log.failure("recheck failed", failure)

    def _finished(self, _: object) -> None:
        self._is_working = False
        self._schedule()

    async def _recheck_batch(self) -> None:
        began = self._reactor.seconds()
        await self._find_due()
        self._was_urgent = bool(self._urgent) and not (self._was_urgent and self._waiting)
        queue = self._urgent if self._was_urgent else self._waiting
        if not queue:
            return
        batch = {connection: queue.pop(connection) for connection in list(islice(queue, self._rechecker.batch_size))}
        try:
            for connection in await self._rechecker.recheck(batch):
                self._urgent.setdefault(connection, batch[connection])
            self._backoff.reset()
        except DatabaseUnavailable:
            # Nothing has changed for them.  At the end of the queue they do not delay the others.
            queue.update(batch)
            self._resting_until = self._reactor.seconds() + self._backoff.next_delay()
            return
        now = self._reactor.seconds()
        self._resting_until = now + (now - began)

    async def _find_due(self) -> None:
        """Queue the connections that notifications were about, and all if it is time."""
        changes, self._changes = self._changes, AccessChanges()
        if changes:
            for connection in await run(self._cooperator, changes.find(self._rooms.loaded_rooms())):
                self._urgent.setdefault(connection, False)
        if self._is_everybody_due:
            self._is_everybody_due = False
            everybody = AccessChanges(everybody=True)
            for connection in await run(self._cooperator, everybody.find(self._rooms.loaded_rooms())):
                self._waiting[connection] = True
