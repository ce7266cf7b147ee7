"""Byte strings are stored by PostgreSQL as they are."""

from __future__ import annotations

import random

import pytest

from canvas_collab.database.bytea import CHUNK_SIZE, Bytea, ByteaArray
from tests.support.databases import TestDatabase

VALUES = [b"", b"\x00", b"'\"\\{},NULL", bytes(range(256)), random.Random(1).randbytes(2 * CHUNK_SIZE + 1)]


@pytest.mark.parametrize("value", VALUES, ids=len)
def test_a_value_comes_back_as_it_was(empty_database: TestDatabase, value: bytes) -> None:
    [[returned]] = empty_database.query("SELECT %s", (Bytea(value),))
    assert bytes(returned) == value


@pytest.mark.parametrize("values", [[], VALUES], ids=["none", "several"])
def test_an_array_comes_back_as_it_was(empty_database: TestDatabase, values: list[bytes]) -> None:
    returned = empty_database.query("SELECT unnest(%s)", (ByteaArray(values),))
    assert [bytes(value) for [value] in returned] == values
