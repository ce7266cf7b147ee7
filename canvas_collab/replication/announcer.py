"""Notifies other daemons of what this one has appended to the log: after the commit, and not for each commit.

A transaction that notifies holds a lock of the whole server until it has ended, so the commits of all daemons would
wait for each other.  A notification that is late, or is never sent, loses nothing: the others search the log regularly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from canvas_collab.database.pool import Database
from canvas_collab.persistence.appending import Appended, LogEntry
from canvas_collab.persistence.statements import LOG_CHANNEL
from canvas_collab.replication.payloads import AppendNotification
from canvas_collab.timeouts import wait_at_most

#: Notifications are sent at most once in so many seconds, the first one at once.
INTERVAL = 0.03

#: When sending has failed, it is tried again after so many seconds.
RETRY_DELAY = 1.0

#: A daemon that stops waits for so many seconds at most until its last notifications are sent.
STOP_TIMEOUT = 1.0

#: While no other daemon listens, what was appended in the last seconds, up to twice as many, is remembered for one that
#: has just begun to: it may have searched the log before.
REMEMBERED = 10.0

#: So many notifications are sent together at most.  More become one, of all ids from the first to the last.
MAX_NOTIFICATIONS = 100

# There is nothing to be made durable, so the transaction does not wait for the disk.
_NOTIFY = f"""
    SET LOCAL synchronous_commit = off;
    SELECT pg_notify('{LOG_CHANNEL}', payload) FROM unnest(%s::text[]) AS payload
"""


@define
class _Remembered:
    """The lowest and highest id that was appended since a time, in seconds."""

    since: float
    first: int
    last: int


class AppendAnnouncer(Service):
    """Sends the notifications of appends, unless no other daemon listens."""

    log = Logger()

    def __init__(self, reactor: IReactorTime, database: Database, origin: str, is_alone: Callable[[], bool]) -> None:
        """:param database: the pool that sends the notifications.
        :param origin: identifies this daemon.
        :param is_alone: returns whether it is known that no other daemon listens.
        """
        self._reactor = reactor
        self._database = database
        self._origin = origin
        self._is_alone = is_alone
        self._pending: list[AppendNotification] = []
        # What was appended while no other daemon listened, the older first.
        self._remembered: list[_Remembered] = []
        self._sent_at = float("-inf")
        self._has_failed = False
        self._call: IDelayedCall | None = None
        self._sending: Deferred[None] | None = None

    def startService(self) -> None:
        """Start sending."""
        Service.startService(self)

    def stopService(self) -> Deferred[None]:
        """Send what is pending, if it can be sent now."""
        Service.stopService(self)
        if self._call is not None:
            self._call.cancel()
            self._call = None
        return Deferred.fromCoroutine(self._send_last())

    async def _send_last(self) -> None:
        if self._sending is not None:
            await wait_at_most(self._reactor, self._sending, STOP_TIMEOUT, None)
        if self._sending is None and self._pending:
            await wait_at_most(self._reactor, Deferred.fromCoroutine(self._send_pending()), STOP_TIMEOUT, None)

    def appended(self, appended: Appended, entries: Sequence[LogEntry]) -> None:
        """Entries were committed."""
        if self._is_alone():
            self._remember(appended)
            return
        self.other_appeared()
        documents = frozenset([entry.document_id for entry in entries])
        self._announce(AppendNotification(self._origin, appended.first, appended.last, documents))

    def other_appeared(self) -> None:
        """Another daemon listens: announce what was appended just before that."""
        if self._remembered:
            first = min(one.first for one in self._remembered)
            last = max(one.last for one in self._remembered)
            self._remembered = []
            self._announce(AppendNotification(self._origin, first, last))

    def _remember(self, appended: Appended) -> None:
        now = self._reactor.seconds()
        if self._remembered and now - self._remembered[-1].since <= REMEMBERED:
            newest = self._remembered[-1]
            newest.first, newest.last = min(newest.first, appended.first), max(newest.last, appended.last)
        else:
            self._remembered = [*self._remembered[-1:], _Remembered(now, appended.first, appended.last)]

    def _announce(self, notification: AppendNotification) -> None:
        self._pending = _coalesced(self._pending, notification)
        if self._call is None and self._sending is None:
            self._schedule(max(self._sent_at + INTERVAL - self._reactor.seconds(), 0))

    def _schedule(self, delay: float) -> None:
        if self.running:
            self._call = self._reactor.callLater(delay, self._send)

    def _send(self) -> None:
        self._call = None
        self._sending = Deferred.fromCoroutine(self._send_pending())
        if self._sending.called:
            self._sending = None

    async def _send_pending(self) -> None:
        sent, self._pending = self._pending, []
        self._sent_at = self._reactor.seconds()
        try:
            await self._database.query(_NOTIFY, ([notification.payload() for notification in sent],))
            self._has_failed = False
        except Exception as error:
            if not self._has_failed:
                self.log.warn("appends not notified", reason=" ".join(str(error).split()), retry_in=RETRY_DELAY)
            self._has_failed = True
            for notification in self._pending:
                sent = _coalesced(sent, notification)
            self._pending = sent
        self._sending = None
        if self._pending:
            delay = RETRY_DELAY if self._has_failed else INTERVAL
            self._schedule(max(self._sent_at + delay - self._reactor.seconds(), 0))


def _coalesced(pending: list[AppendNotification], notification: AppendNotification) -> list[AppendNotification]:
    """Return the pending notifications with another one, which becomes a part of the last one if nothing is between."""
    if len(pending) >= MAX_NOTIFICATIONS:
        first = min(notification.first, *(one.first for one in pending))
        last = max(notification.last, *(one.last for one in pending))
        return [AppendNotification(notification.origin, first, last)]
    if pending and pending[-1].last + 1 == notification.first:
        previous = pending[-1]
        documents = None
        if previous.documents is not None and notification.documents is not None:
            documents = previous.documents | notification.documents
        return [*pending[:-1], evolve(previous, last=notification.last, documents=documents)]
    return [*pending, notification]
