"""The content of items in a Yjs update: checking it, so that no client breaks on it, and cutting it in two.

It is kept as the bytes it came in: what is never decoded to something else cannot come out as something else.
"""

from __future__ import annotations

from canvas_collab.protocol.info import (
    ANY,
    BINARY,
    DELETED,
    DOC,
    EMBED,
    FORMAT,
    GC,
    JSON,
    STRING,
    TYPE,
)
from canvas_collab.protocol.json_text import MAX_NESTING, check_json
from canvas_collab.protocol.lib0 import Malformed, encode_var_string, encode_var_uint, read_var_uint

#: Kinds of shared types that carry a name: XML elements and hooks.
_NAMED_TYPES = (3, 5)
_LAST_TYPE = 6

#: The tag of an object among the values of lib0's ``writeAny``.
_OBJECT = 118


def skip_content(data: bytes, position: int, kind: int) -> tuple[int, int]:
    """Check the content at `position`; returns its length in clocks and where it ends.

    :raises Malformed: if a client could not read it.
    :raises IndexError: if `data` ends before it does.
    """
    if kind == STRING:
        text, stop = _string(data, position)
        # A character outside the basic plane is two in JavaScript.
        return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2, stop
    if kind == ANY:
        count, position = read_var_uint(data, position)
        for _ in range(count):
            position = _skip_any(data, position, 0)
        return count, position
    if kind == DELETED:
        return read_var_uint(data, position)
    if kind == TYPE:
        reference, position = read_var_uint(data, position)
        if reference > _LAST_TYPE:
            raise Malformed(f"there is no shared type {reference}")
        return 1, skip_string(data, position) if reference in _NAMED_TYPES else position
    if kind == FORMAT:
        return 1, _skip_json(data, skip_string(data, position))
    if kind == EMBED:
        return 1, _skip_json(data, position)
    if kind == BINARY:
        return 1, _skip_bytes(data, position)
    if kind == JSON:
        count, position = read_var_uint(data, position)
        for _ in range(count):
            position = _skip_json(data, position, also="undefined")
        return count, position
    if kind == DOC:
        position = skip_string(data, position)
        if data[position] != _OBJECT:
            raise Malformed("the options of a subdocument are not an object")
        return 1, _skip_any(data, position, 0)
    raise Malformed(f"there is no content of kind {kind}")


def cut_content(data: bytes, position: int, kind: int, start: int, end: int) -> bytes:
    """The clocks from `start` to `end`, counted from its own beginning, of content that has several."""
    if kind in (GC, DELETED):
        return encode_var_uint(end - start)
    if kind == STRING:
        units = _string(data, position)[0].encode("utf-16-le")[2 * start : 2 * end]
        # A character that is cut in half becomes two that stand for none, as it does in Yjs.
        return encode_var_string(units.decode("utf-16-le", "replace"))
    count, position = read_var_uint(data, position)
    bounds = []
    for _ in range(count):
        bounds.append(position)
        position = _skip_any(data, position, 0) if kind == ANY else _skip_bytes(data, position)
    bounds.append(position)
    return encode_var_uint(end - start) + data[bounds[start] : bounds[end]]


def _skip_bytes(data: bytes, position: int) -> int:
    length, position = read_var_uint(data, position)
    position += length
    if position > len(data):
        raise Malformed("the update ends inside a value")
    return position


def _string(data: bytes, position: int) -> tuple[str, int]:
    length, position = read_var_uint(data, position)
    stop = position + length
    if stop > len(data):
        raise Malformed("the update ends inside a string")
    try:
        return data[position:stop].decode("utf-8"), stop
    except UnicodeDecodeError:
        raise Malformed("a string is not UTF-8") from None


def skip_string(data: bytes, position: int) -> int:
    return _string(data, position)[1]


def _skip_json(data: bytes, position: int, also: str | None = None) -> int:
    """Check that a browser's ``JSON.parse`` accepts the string; `also` is one more text that Yjs knows there."""
    text, stop = _string(data, position)
    if text != also:
        check_json(text)
    return stop


def _skip_any(data: bytes, position: int, depth: int) -> int:
    """Check a value of lib0's ``writeAny``; returns where it ends."""
    if depth > MAX_NESTING:
        raise Malformed("values are nested too deeply")
    tag = data[position]
    position += 1
    if tag == 119:  # a string
        return skip_string(data, position)
    if tag in (120, 121, 126, 127):  # true, false, null, undefined
        return position
    if tag == 125:  # a signed integer
        return _skip_var_int(data, position)
    if tag == _OBJECT:
        count, position = read_var_uint(data, position)
        for _ in range(count):
            position = _skip_any(data, skip_string(data, position), depth + 1)
        return position
    if tag == 117:  # an array
        count, position = read_var_uint(data, position)
        for _ in range(count):
            position = _skip_any(data, position, depth + 1)
        return position
    if tag == 116:  # bytes
        return _skip_bytes(data, position)
    size = {122: 8, 123: 8, 124: 4}.get(tag)  # a 64-bit integer, a double, a float
    if size is None:
        raise Malformed(f"there is no value with the tag {tag}")
    if position + size > len(data):
        raise Malformed("the update ends inside a number")
    return position + size


def _skip_var_int(data: bytes, position: int) -> int:
    """A signed integer: the sign and six bits in the first byte, then seven to a byte, 53 bits in all."""
    for index in range(8):
        if data[position + index] < 0x80:
            return position + index + 1
    raise Malformed("an integer has more than 53 bits")
