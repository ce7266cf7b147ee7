"""Parsing of times on the command line."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import click

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGO = re.compile(r"-?\s*(\d+)\s*(s|m|h|d|w)[a-z]*(?:\s+ago)?", re.IGNORECASE)


def parse_timespec(text: str, now: datetime) -> datetime:
    """Parse a time: ISO 8601, in this machine's time zone if it names none, or a duration before now.

    Durations are written like ``2h``, ``90s`` or ``3 days ago``.

    :raises ValueError: if the text is neither.
    """
    ago = _AGO.fullmatch(text.strip())
    if ago:
        return now - timedelta(**{_UNITS[ago[2].lower()]: int(ago[1])})
    moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    return moment.astimezone() if moment.tzinfo is None else moment


class Timespec(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """An option's value that is a time in the past."""

    name = "time"

    def convert(self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Parse the time; fail with an example of what is valid."""
        if isinstance(value, datetime):
            return value
        now = datetime.now().astimezone()
        try:
            moment = parse_timespec(value, now)
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is no time: write 2026-11-23T14:30, or a time ago such as 2h or '3 days ago'.", param, ctx
            )
        if moment > now:
            self.fail(f"{value!r} lies in the future.", param, ctx)
        return moment
