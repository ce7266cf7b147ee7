"""The shutdown flush: commits the journal and writes snapshots when the daemon stops."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from canvas_collab.persistence.compactor import abort_compactions
from canvas_collab.persistence.journal import Journal
from canvas_collab.persistence.snapshots import Snapshots
from canvas_collab.timeouts import wait_at_most

#: For how many seconds stopping waits for the journal to be committed, and then for snapshots to be written.
JOURNAL_TIMEOUT = 1.5
SNAPSHOTS_TIMEOUT = 1.5


class ShutdownFlush(Service):
    """A service that does its work when it stops: commits the journal, then writes snapshots, within the timeouts."""

    log = Logger()

    def __init__(self, reactor: Any, journal: Journal, snapshots: Snapshots) -> None:
        self._reactor = reactor
        self._journal = journal
        self._snapshots = snapshots

    def stopService(self) -> Deferred[None]:
        """Commit the journal, then write snapshots."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._flush())

    async def _flush(self) -> None:
        # The snapshot of a document waits for its compaction, which can be done at another time.
        abort_compactions()
        committed = self._journal.when_committed()
        self._journal.flush_soon()
        await self._wait("updates not committed", committed, JOURNAL_TIMEOUT)
        if not self._journal.unsaved:
            written = Deferred.fromCoroutine(self._snapshots.write_all())
            await self._wait("snapshots not written", written, SNAPSHOTS_TIMEOUT)

    async def _wait(self, failure_event: str, work: Awaitable[None], timeout: float) -> None:
        async def finished() -> bool:
            await work
            return True

        if not await wait_at_most(self._reactor, Deferred.fromCoroutine(finished()), timeout, False):
            self.log.error(failure_event, unsaved=self._journal.unsaved)
