"""The result of one check."""

from __future__ import annotations

import enum

from attrs import frozen


class Level(enum.Enum):
    """How serious a finding is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@frozen
class Finding:
    """What a check has found.

    :ivar check: the name of the check.
    :ivar text: a sentence that says what is right or wrong; it never has a secret.
    :ivar remedy: a sentence that says what to do, unless the level is :attr:`Level.OK`.
    """

    check: str
    level: Level
    text: str
    remedy: str = ""


def ok(check: str, text: str) -> Finding:
    """Return a finding that nothing is wrong."""
    return Finding(check, Level.OK, text)


def warning(check: str, text: str, remedy: str) -> Finding:
    """Return a finding that something may be wrong, or will be."""
    return Finding(check, Level.WARNING, text, remedy)


def problem(check: str, text: str, remedy: str) -> Finding:
    """Return a finding that something does not work."""
    return Finding(check, Level.PROBLEM, text, remedy)
