"""PostgreSQL's write-ahead log (WAL)."""

from __future__ import annotations

from tests.support.databases import TestDatabase


def wal_position(database: TestDatabase) -> int:
    """The number of bytes that PostgreSQL has written to its WAL since it was initialized."""
    [[position]] = database.query("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")
    return int(position)
