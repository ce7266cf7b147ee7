"""Warns if PostgreSQL's settings allow it to report commits that are not on its disk yet."""

from __future__ import annotations

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from canvas_collab.database.errors import DatabaseUnavailable
from canvas_collab.database.pool import Database

#: How often the settings are read, in seconds.
INTERVAL = 60.0

_SETTINGS = "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit') AND setting = 'off'"


class DurabilityCheck(Service):
    """Reads the settings from time to time, and logs when commits can be lost."""

    log = Logger()

    def __init__(self, reactor: IReactorTime, database: Database) -> None:
        self._database = database
        #: Why commits can be lost when the server fails; None if they cannot.
        self.problem: str | None = None
        self._checking = LoopingCall(self._check)
        self._checking.clock = reactor

    def startService(self) -> None:
        """Start reading the settings."""
        Service.startService(self)
        self._checking.start(INTERVAL)

    def stopService(self) -> None:
        """Stop reading the settings."""
        Service.stopService(self)
        self._checking.stop()

    def _check(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._read_settings())

    async def _read_settings(self) -> None:
        try:
            rows = await self._database.query(_SETTINGS)
        except DatabaseUnavailable:
            return
        names = " and ".join(sorted(f"{name}={value}" for name, value in rows))
        problem = f"PostgreSQL has {names}: what is saved may be lost when it fails" if names else None
        if problem is not None and problem != self.problem:
            self.log.warn("commits may be lost", reason=problem)
        self.problem = problem
