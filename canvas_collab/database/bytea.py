"""Byte strings as parameters of SQL statements."""

from __future__ import annotations

from binascii import hexlify
from collections.abc import Sequence

#: So many bytes are encoded at a time: other threads run in between.
CHUNK_SIZE = 2**18


class Bytea:
    """A parameter of type ``bytea`` whose SQL literal is made when the object is, possibly in a thread.

    psycopg2's own adapter takes ten times as long and, for a large value, blocks the process when the statement is
    sent.
    """

    __slots__ = ("_literal",)

    def __init__(self, data: bytes) -> None:
        hexadecimal = (hexlify(data[start : start + CHUNK_SIZE]) for start in range(0, len(data), CHUNK_SIZE))
        self._literal = b"".join((b"'\\x", *hexadecimal, b"'::bytea"))

    def getquoted(self) -> bytes:
        """Called by psycopg2 for the SQL of this parameter."""
        return self._literal

    def __conform__(self, protocol: object) -> Bytea:
        """Called by psycopg2 to adapt a value of a type that it does not know."""
        return self


class ByteaArray(Bytea):
    """A parameter of type ``bytea[]``."""

    __slots__ = ()

    def __init__(self, values: Sequence[bytes]) -> None:
        elements = b'","\\\\x'.join(map(hexlify, values))
        self._literal = b"'{\"\\\\x" + elements + b"\"}'::bytea[]" if values else b"'{}'::bytea[]"
