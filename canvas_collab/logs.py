"""The log: one JSON object a line, an event's name and its fields, and nothing that is secret."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Hashable
from datetime import datetime, timezone
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import (
    FilteringLogObserver,
    ILogFilterPredicate,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    PredicateResult,
    formatEvent,
)
from zope.interface import provider

#: Of events that repeat themselves some are logged in so many seconds, and the others counted.
QUIET_INTERVAL = 60.0

#: From here only what is as severe as this is let through: the rest repeats what the daemon logs itself.
NOISY_NAMESPACES = {
    "autobahn": LogLevel.error,
    "log_legacy": LogLevel.warn,
    "twisted.internet.protocol": LogLevel.warn,
    "twisted.python.log": LogLevel.warn,
    "twisted.web": LogLevel.warn,
}


class Stream(Protocol):
    """Where lines go."""

    def write(self, line: str, /) -> object:
        """Take a line."""

    def flush(self) -> object:
        """Let others see it."""


def log_observer(level: str, stream: Stream) -> ILogObserver:
    """An observer that writes events of `level` and above to `stream`, a line each."""

    @provider(ILogObserver)
    def write(event: LogEvent) -> None:
        stream.write(format_event(event) + "\n")
        stream.flush()

    predicate = LogLevelFilterPredicate(LogLevel.lookupByName(level))
    observer: ILogObserver = FilteringLogObserver(write, [_quieter, predicate])
    return observer


def format_event(event: LogEvent) -> str:
    """An event as JSON: when, how severe, what, and its own fields."""
    level = event.get("log_level", LogLevel.info)
    line: dict[str, object] = {
        "time": datetime.fromtimestamp(event["log_time"], timezone.utc).isoformat(timespec="milliseconds"),
        "level": level.name,
        "event": formatEvent(event),
    }
    if event.get("log_namespace"):
        line["source"] = event["log_namespace"]
    for name, value in event.items():
        if not name.startswith("log_") and name not in _FORMATTED and _plain(value):
            line.setdefault(name, value)
    if "log_failure" in event:
        line["failure"] = event["log_failure"].getTraceback()
    return json.dumps(line, ensure_ascii=False)


#: Fields of Twisted's older logging that say again what others say.
_FORMATTED = frozenset({"time", "isError", "message", "format", "system"})


def _plain(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float))


@provider(ILogFilterPredicate)
def _quieter(event: LogEvent) -> object:
    """Keep the noise out."""
    namespace = event.get("log_namespace") or ""
    level = event.get("log_level", LogLevel.info)
    for noisy, least in NOISY_NAMESPACES.items():
        if namespace.startswith(noisy) and level < least:
            return PredicateResult.no
    return PredicateResult.maybe


class LogRateLimiter:
    """Which of the events that a client can cause at will are logged: the first few in every interval."""

    def __init__(
        self, reactor: IReactorTime, each: int, most: int, report: Callable[[int], None] | None = None
    ) -> None:
        """:param each: how many of one kind are logged in an interval.
        :param most: how many of all kinds.
        :param report: is told at an interval's end how many were not logged, if any.
        """
        self._reactor = reactor
        self._each = each
        self._most = most
        self._report = report
        self._logged: Counter[Hashable] = Counter()
        self._suppressed = 0

    def admits(self, kind: Hashable) -> bool:
        """Whether one more of this kind is to be logged."""
        if not self._logged:
            self._reactor.callLater(QUIET_INTERVAL, self._begin_anew)
        if self._logged[kind] >= self._each or self._logged.total() >= self._most:
            self._suppressed += 1
            return False
        self._logged[kind] += 1
        return True

    def _begin_anew(self) -> None:
        suppressed, self._suppressed = self._suppressed, 0
        self._logged.clear()
        if suppressed and self._report is not None:
            self._report(suppressed)
