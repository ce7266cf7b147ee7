"""Large values on their way to and from PostgreSQL, in pieces.

libpq moves what it has not sent yet to the front of its buffer again and again, so that a statement of megabytes takes
a time that grows with the square of its size; and psycopg2 reads a row of megabytes in one go.  In pieces everybody
else has a turn after each.
"""

from __future__ import annotations

from binascii import b2a_base64
from typing import Any, Protocol

from canvas_collab.database.bytea import Bytea

#: A value of more bytes is sent, and read, in pieces of so many.
PIECE = 2**18


class Transaction(Protocol):
    """A transaction, as far as it is needed here."""

    async def query(self, sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""


class SentValue:
    """A value of type ``bytea`` that is at the server already, or an array of that alone."""

    __slots__ = ("_expression",)

    def __init__(self, first: int, last: int) -> None:
        self._expression = (
            "(SELECT string_agg(decode(current_setting('canvas_collab.piece_' || number), 'base64'), ''::bytea "
            f"ORDER BY number) FROM generate_series({first}, {last}) AS number)"
        )

    def array(self) -> SentValue:
        """An array with this as its only element."""
        array = SentValue.__new__(SentValue)
        array._expression = f"ARRAY[{self._expression}]"
        return array

    def getquoted(self) -> bytes:
        """The expression, as psycopg2 asks for it."""
        return self._expression.encode()

    def __conform__(self, protocol: object) -> SentValue:
        """This is what psycopg2 looks for in a value that it does not know."""
        return self


class ChunkSender:
    """Sends values in pieces, each a setting of the transaction: that needs no table, and is gone at its end."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._next = 0

    async def value(self, data: bytes) -> SentValue | Bytea:
        """A value to be put into a statement of the transaction; a large one is sent ahead."""
        return await self.send(data) if len(data) > PIECE else Bytea(data)

    async def send(self, data: bytes) -> SentValue:
        """Send a value; what is returned stands for it in any statement of the transaction."""
        first = self._next
        for start in range(0, len(data), PIECE):
            piece = b2a_base64(data[start : start + PIECE], newline=False).decode()
            # Its answer would be the whole piece.
            statement = "SELECT set_config('canvas_collab.piece_' || %s, %s, true) IS NULL"
            await self._transaction.query(statement, (self._next, piece))
            self._next += 1
        return SentValue(first, self._next - 1)


async def receive(transaction: Transaction, piece: str, key: object, size: int) -> bytes:
    """Read a value of so many bytes.

    :param piece: a statement that answers a part of it; takes ``key``, and ``first`` and ``count`` of its bytes.
    """
    pieces: list[bytes] = []
    for start in range(0, size, PIECE):
        rows = await transaction.query(piece, {"key": key, "first": start + 1, "count": PIECE})
        pieces += (bytes(data) for (data,) in rows)
    return b"".join(pieces)
