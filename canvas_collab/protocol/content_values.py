"""The strings and values that the content of items consists of: validating them.

The values are those of ``writeAny`` of the npm package ``lib0``: a tag, and what it announces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from canvas_collab.protocol.json_text import MAX_NESTING
from canvas_collab.protocol.lib0 import Malformed, read_var_uint
from canvas_collab.protocol.steps import VALUES_PER_STEP

if TYPE_CHECKING:
    from mypy_extensions import i64

#: The tags of objects and arrays.
OBJECT: Final = 118
ARRAY: Final = 117


def skip_bytes(data: bytes, position: i64) -> i64:
    """Validate a byte array; returns the position after it."""
    length, position = read_var_uint(data, position)
    position += length
    if position > len(data):
        raise Malformed("the update ends inside a value")
    return position


def read_bounds(data: bytes, position: i64) -> tuple[i64, i64]:
    """Return the positions of the first byte of a string, and after its last."""
    length, position = read_var_uint(data, position)
    if position + length > len(data):
        raise Malformed("the update ends inside a string")
    return position, position + length


def read_string(data: bytes, position: i64) -> tuple[str, i64]:
    """Validate and decode a string; returns it and the position after it."""
    start, stop = read_bounds(data, position)
    try:
        return data[start:stop].decode("utf-8"), stop
    except UnicodeDecodeError:
        raise Malformed("a string is not UTF-8") from None


def skip_string(data: bytes, position: i64) -> i64:
    """Validate a string; returns the position after it."""
    start, stop = read_bounds(data, position)
    text = data[start:stop]
    if not text.isascii():
        try:
            text.decode("utf-8")
        except UnicodeDecodeError:
            raise Malformed("a string is not UTF-8") from None
    return stop


def skip_values(data: bytes, position: i64, pending: list[int]) -> i64:
    """Validate values of lib0's ``writeAny``, as many as fit in one step; returns the position after the last one.

    :param pending: for each level of nesting, the innermost last, how many values are left, times two, plus one if each
        has a key in front of it.  Updated in place; empty when there are no more.
    """
    remaining: i64 = VALUES_PER_STEP
    level: i64 = pending.pop()
    while remaining:
        if level < 2:
            if not pending:
                return position
            level = pending.pop()
            continue
        level -= 2
        if level & 1:
            position = skip_string(data, position)
        tag: i64 = data[position]
        position += 1
        remaining -= 1
        if tag == 119:  # a string
            position = skip_string(data, position)
        elif tag == 125:  # a signed integer
            position = _skip_var_int(data, position)
        elif tag in (120, 121, 126, 127):  # true, false, null, undefined
            continue
        elif tag in (OBJECT, ARRAY):
            pending.append(level)
            # The first level is the content itself.
            if len(pending) > MAX_NESTING + 1:
                raise Malformed("values are nested too deeply")
            level, position = read_var_uint(data, position)
            level = level << 1 | (tag == OBJECT)
        elif tag == 116:  # bytes
            position = skip_bytes(data, position)
        else:
            if tag in (122, 123):  # a 64-bit integer, a double
                position += 8
            elif tag == 124:  # a float
                position += 4
            else:
                raise Malformed(f"there is no value with the tag {tag}")
            if position > len(data):
                raise Malformed("the update ends inside a number")
    while level < 2 and pending:
        level = pending.pop()
    if level >= 2:
        pending.append(level)
    return position


def _skip_var_int(data: bytes, position: i64) -> i64:
    """Skip a signed integer: the sign and six bits in the first byte, then seven bits in each byte, 53 in all."""
    end: i64 = position + 8
    while position < end:
        byte: i64 = data[position]
        position += 1
        if byte < 0x80:
            return position
    raise Malformed("an integer has more than 53 bits")
