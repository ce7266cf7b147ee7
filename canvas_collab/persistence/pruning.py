"""The log's older part: entries that are in the snapshot stay for some time, and go in small batches then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

#: How often there is a look for entries that have been history for long enough, in seconds.
INTERVAL = 60.0

#: How many go at a time: few enough that nobody else waits for the database.
BATCH = 500


class LogPruner(Service):
    """Prunes the log."""

    log = Logger()

    def __init__(self, reactor: IReactorTime, prune: Callable[[int], Awaitable[int]]) -> None:
        """:param prune: deletes at most so many entries, and answers how many it has deleted."""
        self._prune = prune
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor

    def startService(self) -> None:
        """Begin to look."""
        Service.startService(self)
        self._looking.start(INTERVAL)

    def stopService(self) -> None:
        """Stop after the batch that is being deleted."""
        Service.stopService(self)
        self._looking.stop()

    def _look(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._prune_all())

    async def _prune_all(self) -> None:
        pruned = count = 0
        try:
            while self.running and (count := await self._prune(BATCH)):
                pruned += count
        except Exception as error:
            self.log.error("pruning failed", reason=str(error))
        if pruned:
            self.log.info("history pruned", entries=pruned)
