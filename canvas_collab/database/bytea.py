"""Bytes on their way to PostgreSQL."""

from __future__ import annotations

from binascii import hexlify
from collections.abc import Iterable

#: So many bytes are encoded at a time: other threads get their turns in between.
CHUNK = 2**18


class Bytea:
    """A value of type ``bytea``, its literal made ahead.

    psycopg2's own takes ten times as long and, for a large value, keeps the whole process waiting when the statement is
    sent.  This can be made in a thread.
    """

    __slots__ = ("_literal",)

    def __init__(self, data: bytes) -> None:
        hexadecimal = (hexlify(data[start : start + CHUNK]) for start in range(0, len(data), CHUNK))
        self._literal = b"".join((b"'\\x", *hexadecimal, b"'::bytea"))

    def getquoted(self) -> bytes:
        """The literal, as psycopg2 asks for it."""
        return self._literal

    def __conform__(self, protocol: object) -> Bytea:
        """This is what psycopg2 looks for in a value that it does not know."""
        return self


class ByteaArray(Bytea):
    """A value of type ``bytea[]``."""

    __slots__ = ()

    def __init__(self, values: Iterable[bytes]) -> None:
        elements = b",".join(b'"\\\\x' + hexlify(data) + b'"' for data in values)
        self._literal = b"'{" + elements + b"}'::bytea[]"
