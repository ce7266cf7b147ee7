"""The log: one JSON object a line, an event's name and its fields, and nothing that is secret."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Protocol

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
