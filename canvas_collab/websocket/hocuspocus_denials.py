"""Limiting how often a Hocuspocus client may be denied documents before its socket is closed."""

from __future__ import annotations

from collections import Counter

from twisted.internet.interfaces import IReactorTime

from canvas_collab.config.connections import HocuspocusSettings

#: How long denials are counted before the count starts again, in seconds.
INTERVAL = 60.0


class DenialCounter:
    """Counts the denials on one socket in the current interval, by document."""

    def __init__(self, clock: IReactorTime, settings: HocuspocusSettings) -> None:
        self._clock = clock
        self._settings = settings
        self._denials: Counter[str] = Counter()
        self._interval_start = 0.0

    def add(self, room: str) -> bool:
        """Count a denial of a document; return whether there were too many.

        Each document may be denied at least once: a socket without any fault may have many.
        """
        now = self._clock.seconds()
        if now - self._interval_start > INTERVAL:
            self._denials.clear()
            self._interval_start = now
        self._denials[room] += 1
        settings = self._settings
        return self._denials[room] >= settings.max_denials or len(self._denials) > settings.max_documents
