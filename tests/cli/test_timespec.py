"""Times on the command line."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from canvas_collab.cli.timespec import parse_timespec
from tests.support.commands import run

NOW = datetime(2026, 3, 4, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2h", NOW - timedelta(hours=2)),
        ("-90s", NOW - timedelta(seconds=90)),
        ("3 days ago", NOW - timedelta(days=3)),
        ("1 minute ago", NOW - timedelta(minutes=1)),
        ("2w", NOW - timedelta(weeks=2)),
        ("2026-03-04T11:00:00Z", NOW - timedelta(hours=1)),
        ("2026-03-04 13:00+02:00", NOW - timedelta(hours=1)),
    ],
)
def test_times_and_durations_are_parsed(text: str, moment: datetime) -> None:
    assert parse_timespec(text, NOW) == moment


def test_a_time_without_a_time_zone_is_in_that_of_this_machine() -> None:
    assert parse_timespec("2026-01-02T03:04", NOW) == datetime(2026, 1, 2, 3, 4).astimezone()


@pytest.mark.parametrize("text", ["", "soon", "5", "2026-13-01", "9999-01-01"])
def test_what_is_no_time_in_the_past_is_refused(text: str) -> None:
    done = run("export", "one", "--at", text)
    assert done.returncode == 2
    assert b"is no time" in done.stderr or b"lies in the future" in done.stderr
