"""Writing everything to disk when the daemon stops."""

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

#: How long stopping waits for the journal to be committed, and then for snapshots to be written, in seconds.
JOURNAL_TIMEOUT = 1.5
SNAPSHOTS_TIMEOUT = 1.5


class ShutdownFlush(Service):
    """When it stops, commits what is in the journal, then writes snapshots, as far as the timeouts allow."""

    log = Logger()

    def __init__(self, reactor: Any, journal: Journal, snapshots: Snapshots) -> None:
        self._reactor = reactor
        self._journal = journal
        self._snapshots = snapshots

    def stopService(self) -> Deferred[None]:
        """Commit, then write snapshots."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._finish())

    async def _finish(self) -> None:
        # Compaction can be done at another time, and delays the snapshot of its document.
        abort_compactions()
        committed = self._journal.when_committed()
        self._journal.flush_soon()
        await self._attempt("updates not committed", committed, JOURNAL_TIMEOUT)
        if not self._journal.unsaved:
            written = Deferred.fromCoroutine(self._snapshots.write_all())
            await self._attempt("snapshots not written", written, SNAPSHOTS_TIMEOUT)

    async def _attempt(self, complaint: str, work: Awaitable[None], timeout: float) -> None:
        async def finish() -> bool:
            await work
            return True

        if not await wait_at_most(self._reactor, Deferred.fromCoroutine(finish()), timeout, False):
            self.log.error(complaint, unsaved=self._journal.unsaved)
