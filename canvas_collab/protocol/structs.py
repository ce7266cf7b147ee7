"""The structs of a Yjs update: finding where each begins and ends, and cutting one where two updates overlap.

The format is that of Yjs's update encoding, version 1 (``readClientsStructRefs`` and ``Item.write`` of the npm package
``yjs`` 13).  Content is checked, so that no client breaks on it, and otherwise kept as the bytes it came in: what is
never decoded to something else cannot come out as something else.

A struct begins with an info byte.  Its low five bits say what it is: 0 a garbage-collected stretch, 10 a stretch that
is skipped, anything else an item with that kind of content.  An item's high bits say which of the fields *origin*
(0x80) and *right origin* (0x40) follow; if neither does, its *parent* follows and, where 0x20 says so, its key there.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator

from attrs import frozen

from canvas_collab.protocol.json_text import MAX_NESTING, check_json
from canvas_collab.protocol.lib0 import MAX_SAFE_INTEGER, Malformed, encode_var_string, encode_var_uint

#: The highest clock that every engine can count to; no document of people's making comes near it.
MAX_CLOCK = 2**32 - 1

#: A run ends with the struct that brings it to so many bytes, so that looking for a place in it takes little time.
RUN_SIZE = 16 * 2**10

_ORIGIN, _RIGHT_ORIGIN, _KEY, _KIND = 0x80, 0x40, 0x20, 0x1F

#: Kinds of shared types that carry a name: XML elements and hooks.
_NAMED_TYPES = (3, 5)
_LAST_TYPE = 6

#: The tag of an object among the values of lib0's ``writeAny``.
_OBJECT = 118


class Kind(enum.IntEnum):
    """What a struct is; from 1 to 9 the content of an item."""

    GC = 0
    DELETED = 1
    JSON = 2
    BINARY = 3
    STRING = 4
    EMBED = 5
    FORMAT = 6
    TYPE = 7
    ANY = 8
    DOC = 9
    SKIP = 10


@frozen
class Run:
    """Structs of one client that follow each other without a gap, from `clock` up to, not including, `end`.

    `data` is their encoding, `count` how many they are.
    """

    clock: int
    end: int
    count: int
    data: bytes


@frozen
class Struct:
    """Where in a run a struct lies: its clocks, its bytes, and where in them its content begins."""

    clock: int
    end: int
    start: int
    content: int
    stop: int


def read_runs(data: bytes, position: int, count: int, client: int, clock: int) -> tuple[list[Run], int]:
    """Read `count` structs of a client, the first at `clock`.

    Returns their runs, none of them much larger than :data:`RUN_SIZE`, and where in `data` they end.

    :raises Malformed: if they are not structs, or not such as every client can read.
    """
    runs: list[Run] = []
    first, first_clock, in_run = position, clock, 0
    for _ in range(count):
        start = position
        length, _content, position = _read_struct(data, position, client, clock)
        if not length or clock + length > MAX_CLOCK:
            raise Malformed("a struct is empty, or its clock too high")
        if data[start] & _KIND == Kind.SKIP:
            if in_run:
                runs.append(Run(first_clock, clock, in_run, data[first:start]))
            first, first_clock, in_run = position, clock + length, 0
        else:
            in_run += 1
        clock += length
        if position - first >= RUN_SIZE and in_run:
            runs.append(Run(first_clock, clock, in_run, data[first:position]))
            first, first_clock, in_run = position, clock, 0
    if in_run:
        runs.append(Run(first_clock, clock, in_run, data[first:position]))
    return runs, position


def cut_run(run: Run, start: int, end: int, client: int) -> Run:
    """The part of a client's run from the clock `start` up to `end`, which must lie within it and in this order."""
    if start <= run.clock and end >= run.end:
        return run
    parts = []
    for struct in structs_of(run, client):
        if struct.end > start:
            parts.append(cut_struct(run.data, struct, start, end, client))
        if struct.end >= end:
            break
    return Run(max(start, run.clock), min(end, run.end), len(parts), b"".join(parts))


def structs_of(run: Run, client: int) -> Iterator[Struct]:
    """The structs of a client's run, in order."""
    position, clock = 0, run.clock
    for _ in range(run.count):
        start = position
        length, content, position = _read_struct(run.data, position, client, clock)
        yield Struct(clock, clock + length, start, content, position)
        clock += length


def join_runs(first: Run, second: Run) -> Run:
    """Two runs of one client, the second of which begins where the first ends, as one."""
    return Run(first.clock, second.end, first.count + second.count, first.data + second.data)


def encode_skip(length: int) -> bytes:
    """The struct that stands for a gap of `length` clocks."""
    return bytes((Kind.SKIP,)) + encode_var_uint(length)


def _read_struct(data: bytes, position: int, client: int, clock: int) -> tuple[int, int, int]:
    """Read a client's struct at `position`: its length in clocks, where its content begins, and where it ends."""
    try:
        info = data[position]
        kind = info & _KIND
        position += 1
        if kind in (Kind.GC, Kind.SKIP):
            if kind == Kind.SKIP and info != Kind.SKIP:
                raise Malformed("a skipped stretch has fields of an item")
            length, stop = _var_uint(data, position)
            return length, position, stop
        if info & (_ORIGIN | _RIGHT_ORIGIN):
            if info & _ORIGIN:
                position = _skip_known_id(data, position, client, clock)
            if info & _RIGHT_ORIGIN:
                position = _skip_known_id(data, position, client, clock)
        else:
            named, position = _var_uint(data, position)
            position = _skip_string(data, position) if named == 1 else _skip_known_id(data, position, client, clock)
            if info & _KEY:
                position = _skip_string(data, position)
        length, stop = _skip_content(data, position, kind)
    except IndexError:
        raise Malformed("the update ends inside a struct") from None
    return length, position, stop


def _skip_content(data: bytes, position: int, kind: int) -> tuple[int, int]:
    """Check the content at `position`; returns its length in clocks and where it ends."""
    if kind == Kind.STRING:
        text, stop = _string(data, position)
        # A character outside the basic plane is two in JavaScript.
        return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2, stop
    if kind == Kind.ANY:
        count, position = _var_uint(data, position)
        for _ in range(count):
            position = _skip_any(data, position, 0)
        return count, position
    if kind == Kind.DELETED:
        return _var_uint(data, position)
    if kind == Kind.TYPE:
        reference, position = _var_uint(data, position)
        if reference > _LAST_TYPE:
            raise Malformed(f"there is no shared type {reference}")
        return 1, _skip_string(data, position) if reference in _NAMED_TYPES else position
    if kind == Kind.FORMAT:
        return 1, _skip_json(data, _skip_string(data, position))
    if kind == Kind.EMBED:
        return 1, _skip_json(data, position)
    if kind == Kind.BINARY:
        return 1, _skip_bytes(data, position)
    if kind == Kind.JSON:
        count, position = _var_uint(data, position)
        for _ in range(count):
            position = _skip_json(data, position, also="undefined")
        return count, position
    if kind == Kind.DOC:
        position = _skip_string(data, position)
        if data[position] != _OBJECT:
            raise Malformed("the options of a subdocument are not an object")
        return 1, _skip_any(data, position, 0)
    raise Malformed(f"there is no content of kind {kind}")


def cut_struct(data: bytes, struct: Struct, start: int, end: int, client: int) -> bytes:
    """The part of a struct between two clocks.  Like Yjs, what is cut off in front becomes its origin."""
    start, end = max(start, struct.clock), min(end, struct.end)
    if (start, end) == (struct.clock, struct.end):
        return data[struct.start : struct.stop]
    info = data[struct.start]
    kind = info & _KIND
    content = cut_content(data, struct.content, kind, start - struct.clock, end - struct.clock)
    if kind == Kind.GC:
        return bytes((info,)) + content
    if start == struct.clock:
        return data[struct.start : struct.content] + content
    position = struct.start + 1
    right_origin = b""
    if info & _ORIGIN:
        position = _skip_id(data, position)
    if info & _RIGHT_ORIGIN:
        right_origin = data[position : _skip_id(data, position)]
    head = bytes((info & (_RIGHT_ORIGIN | _KEY | _KIND) | _ORIGIN,))
    return head + encode_var_uint(client) + encode_var_uint(start - 1) + right_origin + content


def cut_content(data: bytes, position: int, kind: int, start: int, end: int) -> bytes:
    """The clocks from `start` to `end`, counted from its own beginning, of content that has several."""
    if kind in (Kind.GC, Kind.DELETED):
        return encode_var_uint(end - start)
    if kind == Kind.STRING:
        units = _string(data, position)[0].encode("utf-16-le")[2 * start : 2 * end]
        # A character that is cut in half becomes two that stand for none, as it does in Yjs.
        return encode_var_string(units.decode("utf-16-le", "replace"))
    count, position = _var_uint(data, position)
    bounds = []
    for _ in range(count):
        bounds.append(position)
        position = _skip_any(data, position, 0) if kind == Kind.ANY else _skip_bytes(data, position)
    bounds.append(position)
    return encode_var_uint(end - start) + data[bounds[start] : bounds[end]]


def _var_uint(data: bytes, position: int) -> tuple[int, int]:
    """Read an integer; returns it and where it ends.  Raises IndexError where the bytes end."""
    byte = data[position]
    if byte < 0x80:
        return byte, position + 1
    number = byte & 0x7F
    shift = 7
    while True:
        position += 1
        byte = data[position]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            if number > MAX_SAFE_INTEGER:
                break
            return number, position + 1
        shift += 7
        if shift > 49:
            break
    raise Malformed("an integer has more than 53 bits")


def _skip_id(data: bytes, position: int) -> int:
    return _var_uint(data, _var_uint(data, position)[1])[1]


def _skip_known_id(data: bytes, position: int, client: int, clock: int) -> int:
    """The id of a struct that one of `client` at `clock` builds on; its own have to come before it.

    Yjs waits for those of others that it does not know yet, and breaks on a client's own.
    """
    author, position = _var_uint(data, position)
    known, position = _var_uint(data, position)
    if author == client and known >= clock:
        raise Malformed("a struct builds on one that comes after it")
    return position


def _skip_bytes(data: bytes, position: int) -> int:
    length, position = _var_uint(data, position)
    position += length
    if position > len(data):
        raise Malformed("the update ends inside a value")
    return position


def _string(data: bytes, position: int) -> tuple[str, int]:
    length, position = _var_uint(data, position)
    stop = position + length
    if stop > len(data):
        raise Malformed("the update ends inside a string")
    try:
        return data[position:stop].decode("utf-8"), stop
    except UnicodeDecodeError:
        raise Malformed("a string is not UTF-8") from None


def _skip_string(data: bytes, position: int) -> int:
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
        return _skip_string(data, position)
    if tag in (120, 121, 126, 127):  # true, false, null, undefined
        return position
    if tag == 125:  # a signed integer
        return _skip_var_int(data, position)
    if tag == _OBJECT:
        count, position = _var_uint(data, position)
        for _ in range(count):
            position = _skip_any(data, _skip_string(data, position), depth + 1)
        return position
    if tag == 117:  # an array
        count, position = _var_uint(data, position)
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
