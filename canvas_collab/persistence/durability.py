"""Whether what PostgreSQL calls committed is on its disk: settings of the server may have it otherwise."""

from __future__ import annotations

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from canvas_collab.database.errors import DatabaseUnavailable
from canvas_collab.database.pool import Database

#: How often the settings are looked at, in seconds.
INTERVAL = 60.0

_SETTINGS = "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit') AND setting = 'off'"


class DurabilityCheck(Service):
    """Looks at the settings, and says so when what is acknowledged can be lost."""

    log = Logger()

    def __init__(self, reactor: IReactorTime, database: Database) -> None:
        self._database = database
        #: Why what is committed may be lost when the server fails, or None if it cannot be.
        self.problem: str | None = None
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor

    def startService(self) -> None:
        """Begin to look."""
        Service.startService(self)
        self._looking.start(INTERVAL)

    def stopService(self) -> None:
        """Stop looking."""
        Service.stopService(self)
        self._looking.stop()

    def _look(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._ask())

    async def _ask(self) -> None:
        try:
            rows = await self._database.query(_SETTINGS)
        except DatabaseUnavailable:
            return
        names = " and ".join(sorted(f"{name}={value}" for name, value in rows))
        problem = f"PostgreSQL has {names}: what is saved may be lost when it fails" if names else None
        if problem is not None and problem != self.problem:
            self.log.warn("commits may be lost", reason=problem)
        self.problem = problem
