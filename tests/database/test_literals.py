"""Literals of arrays arrive in PostgreSQL as they were."""

from __future__ import annotations

import pytest

from canvas_collab.database.literals import text_array
from tests.support.databases import TestDatabase

NASTY = [
    "",
    " ",
    "NULL",
    "null",
    ",",
    "{}",
    '"',
    '""',
    '","',
    "'",
    "''",
    "\\",
    "\\\\",
    '\\"',
    "a\nb\t",
    "%s",
    "$1",
    "ä😀",
    "'; --",
]


def test_an_array_of_any_text_arrives_as_it_was(empty_database: TestDatabase) -> None:
    for values in (
        [],
        ["diagram-1"],
        ["a", "b", "c"],
        *([one] for one in NASTY),
        *([one, "a"] for one in NASTY),
        NASTY,
    ):
        [(arrived,)] = empty_database.query(b"SELECT " + text_array(values) + b"::text[]", None)  # type: ignore[arg-type]
        assert arrived == values


def test_a_nul_character_is_no_text() -> None:
    with pytest.raises(ValueError, match="NUL"):
        text_array(["a", "b\0"])
