"""SQL literals of arrays of text, made in one go: psycopg2 adapts and escapes every element by itself."""

from __future__ import annotations

from collections.abc import Sequence


def text_array(values: Sequence[str]) -> bytes:
    """Return an SQL literal, in UTF-8, for an array of ``text``.

    :raises ValueError: if a value cannot be one of PostgreSQL's: it has a NUL character, or half a surrogate pair.
    """
    elements = '","'.join(values)
    if "\0" in elements:
        raise ValueError("a text with a NUL character cannot be stored")
    # Each value has two more quotes than it needs if nothing has to be escaped.
    if "\\" in elements or "'" in elements or elements.count('"') > 2 * (len(values) - 1):
        elements = '","'.join(value.replace("\\", "\\\\").replace('"', '\\"') for value in values).replace("'", "''")
    return b"'{\"%b\"}'" % elements.encode() if values else b"'{}'"
