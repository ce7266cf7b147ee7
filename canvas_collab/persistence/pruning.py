"""Prunes the log: deletes entries that are in a snapshot and older than the retention, in small batches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

#: How often the log is pruned, in seconds.
INTERVAL = 60.0

#: How many entries are deleted in one statement: few enough that other statements do not have to wait.
BATCH_ENTRIES = 500


class LogPruner(Service):
    """Prunes the log from time to time."""

    log = Logger()

    def __init__(self, reactor: IReactorTime, prune: Callable[[int], Awaitable[int]]) -> None:
        """:param prune: deletes at most so many entries, and returns how many it has deleted."""
        self._prune = prune
        self._pruning = LoopingCall(self._run)
        self._pruning.clock = reactor

    def startService(self) -> None:
        """Start pruning."""
        Service.startService(self)
        self._pruning.start(INTERVAL)

    def stopService(self) -> None:
        """Stop after the batch that is being deleted, if one is."""
        Service.stopService(self)
        self._pruning.stop()

    def _run(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._prune_all())

    async def _prune_all(self) -> None:
        pruned = count = 0
        try:
            while self.running and (count := await self._prune(BATCH_ENTRIES)):
                pruned += count
        except Exception as error:
            self.log.error("pruning failed", reason=str(error))
        if pruned:
            self.log.info("history pruned", entries=pruned)
