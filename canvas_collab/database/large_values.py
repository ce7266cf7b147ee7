"""Sends large values to PostgreSQL, and reads them, in chunks.

libpq moves what it has not sent yet to the front of its buffer again and again, so the time that a statement of
megabytes takes grows with the square of its size; and psycopg2 reads a row of megabytes without interruption.  In
chunks, the reactor runs in between.
"""

from __future__ import annotations

from binascii import b2a_base64

from canvas_collab.database.bytea import Bytea
from canvas_collab.database.pool import Transaction

#: Values of more bytes are sent and read in chunks of this size.
CHUNK_SIZE = 2**18


class SentValue:
    """A value of type ``bytea`` that the server has already: an SQL expression, used as a parameter of statements."""

    __slots__ = ("_expression",)

    def __init__(self, expression: str) -> None:
        self._expression = expression

    def as_array(self) -> SentValue:
        """Return an array with this value as its only element."""
        return SentValue(f"ARRAY[{self._expression}]")

    def getquoted(self) -> bytes:
        """Called by psycopg2 for the SQL of this parameter."""
        return self._expression.encode()

    def __conform__(self, protocol: object) -> SentValue:
        """Called by psycopg2 to adapt a value of a type that it does not know."""
        return self


class ChunkSender:
    """Sends values in chunks, each as a setting of the transaction: settings need no table, and end with it."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._chunk_count = 0

    async def parameter(self, data: bytes) -> SentValue | Bytea:
        """Return `data` as a parameter for statements of the transaction.  Large data is sent ahead, in chunks."""
        return await self.send(data) if len(data) > CHUNK_SIZE else Bytea(data)

    async def send(self, data: bytes) -> SentValue:
        """Send `data` in chunks, and return what stands for it in statements of the transaction."""
        first = self._chunk_count
        for start in range(0, len(data), CHUNK_SIZE):
            chunk = b2a_base64(data[start : start + CHUNK_SIZE], newline=False).decode()
            # set_config returns the value it has set, which would be sent back without "IS NULL".
            statement = "SELECT set_config('canvas_collab.chunk_' || %s, %s, true) IS NULL"
            await self._transaction.query(statement, (self._chunk_count, chunk))
            self._chunk_count += 1
        return SentValue(
            "(SELECT string_agg(decode(current_setting('canvas_collab.chunk_' || number), 'base64'), ''::bytea "
            f"ORDER BY number) FROM generate_series({first}, {self._chunk_count - 1}) AS number)"
        )


async def read_in_chunks(transaction: Transaction, query: str, key: object, size: int) -> bytes:
    """Read a value of `size` bytes.

    :param query: a statement that returns a part of the value.  Its parameters are ``key``, ``first`` (counted from 1)
        and ``count``, the latter two in bytes.
    """
    chunks: list[bytes] = []
    for start in range(0, size, CHUNK_SIZE):
        rows = await transaction.query(query, {"key": key, "first": start + 1, "count": CHUNK_SIZE})
        chunks += (bytes(data) for (data,) in rows)
    return b"".join(chunks)
