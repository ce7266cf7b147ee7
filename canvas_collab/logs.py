"""The event log: one event a line, as JSON or as text, with its name and its fields. Callers log no secrets.

(The log of updates is the table ``yjs_update_log``, see :mod:`canvas_collab.persistence.store`.)
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
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

#: The interval of :class:`LogRateLimiter`, in seconds.
RATE_LIMIT_INTERVAL = 60.0

#: Minimum levels by prefixes of namespaces (names of loggers): lesser events there repeat what the daemon logs itself.
MINIMUM_LEVELS = {
    "autobahn": LogLevel.error,
    "log_legacy": LogLevel.warn,
    "twisted.internet.protocol": LogLevel.warn,
    "twisted.python.log": LogLevel.warn,
    "twisted.web": LogLevel.warn,
}


class Stream(Protocol):
    """A text stream to log to."""

    def write(self, line: str, /) -> object:
        """Write a line, with its line break."""

    def flush(self) -> object:
        """Flush what was written."""


def log_observer(level: str, stream: Stream, line_of: Callable[[LogEvent], str]) -> ILogObserver:
    """Return an observer that writes events of `level` and above to `stream`, a line each.

    :param line_of: one of :data:`FORMATS`.
    """

    @provider(ILogObserver)
    def write(event: LogEvent) -> None:
        stream.write(line_of(event) + "\n")
        stream.flush()

    predicate = LogLevelFilterPredicate(LogLevel.lookupByName(level))
    observer: ILogObserver = FilteringLogObserver(write, [_namespace_filter, predicate])
    return observer


def fields_of(event: LogEvent) -> dict[str, object]:
    """Return what is written of an event: ``time``, ``level``, ``event``, ``source``, and its own fields.

    Of its fields only text, numbers, booleans and nulls are written; a failure is written as its traceback.
    """
    level = event.get("log_level", LogLevel.info)
    line: dict[str, object] = {
        "time": datetime.fromtimestamp(event["log_time"], timezone.utc).isoformat(timespec="milliseconds"),
        "level": level.name,
        "event": formatEvent(event),
    }
    if event.get("log_namespace"):
        line["source"] = event["log_namespace"]
    for name, value in event.items():
        if not name.startswith("log_") and name not in _LEGACY_FIELDS and _is_scalar(value):
            line.setdefault(name, value)
    if "log_failure" in event:
        line["failure"] = event["log_failure"].getTraceback()
    return line


def format_json(event: LogEvent) -> str:
    """Format an event as a JSON object, on one line."""
    line = json.dumps(fields_of(event), ensure_ascii=False)
    # A surrogate without its other half cannot be written as UTF-8; this writes it as JSON does, \ud800.
    return line.encode("utf-8", "backslashreplace").decode()


def format_text(event: LogEvent) -> str:
    """Format an event as text, on one line: time, level, name, and the other fields as ``name=value``.

    A value with a space or a character that is not printable is written as a JSON string, and so is an empty one.
    """
    fields = fields_of(event)
    time, level, name = (str(fields.pop(field)) for field in ("time", "level", "event"))
    name = name if name.isprintable() else _quote(name)
    return "  ".join([time, f"{level:<8}", " ".join([name, *(f"{key}={_text(fields[key])}" for key in fields)])])


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    if text and text.isprintable() and not set(text) & _QUOTED:
        return text
    return _quote(text)


def _quote(text: str) -> str:
    """Return a JSON string of printable characters."""
    return json.dumps(text, ensure_ascii=not text.isprintable()).replace("\x7f", "\\u007f")


#: The formats of a line, by the values of ``LOG_FORMAT``.
FORMATS: Mapping[str, Callable[[LogEvent], str]] = {"json": format_json, "text": format_text}

#: Printable characters because of which a value is quoted in text.
_QUOTED = frozenset(' "=\\')


#: Fields of events of Twisted's legacy logging that repeat other fields.
_LEGACY_FIELDS = frozenset({"time", "isError", "message", "format", "system"})


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float))


@provider(ILogFilterPredicate)
def _namespace_filter(event: LogEvent) -> object:
    """Drop events below the minimum level of their namespace."""
    namespace = event.get("log_namespace") or ""
    level = event.get("log_level", LogLevel.info)
    for prefix, minimum in MINIMUM_LEVELS.items():
        if namespace.startswith(prefix) and level < minimum:
            return PredicateResult.no
    return PredicateResult.maybe


class LogRateLimiter:
    """Limits how often events that clients can cause at will are logged: the first few in every interval."""

    def __init__(
        self, reactor: IReactorTime, per_kind: int, in_total: int, report: Callable[[int], None] | None = None
    ) -> None:
        """:param per_kind: how many events of one kind may be logged in an interval.
        :param in_total: how many of all kinds together.
        :param report: called at the end of an interval with the number of events that were not logged, if any.
        """
        self._reactor = reactor
        self._per_kind = per_kind
        self._in_total = in_total
        self._report = report
        self._logged: Counter[Hashable] = Counter()
        self._suppressed = 0

    def admits(self, kind: Hashable) -> bool:
        """Return whether an event of this kind may be logged now, and count it."""
        if not self._logged:
            self._reactor.callLater(RATE_LIMIT_INTERVAL, self._start_interval)
        if self._logged[kind] >= self._per_kind or self._logged.total() >= self._in_total:
            self._suppressed += 1
            return False
        self._logged[kind] += 1
        return True

    def _start_interval(self) -> None:
        suppressed, self._suppressed = self._suppressed, 0
        self._logged.clear()
        if suppressed and self._report is not None:
            self._report(suppressed)
