"""The structs of a Yjs update: finding where each begins and ends, and cutting one where two updates overlap.

The format is that of Yjs's update encoding, version 1 (``readClientsStructRefs`` and ``Item.write`` of the npm package
``yjs`` 13): an info byte (:mod:`canvas_collab.protocol.info`), what it says follows, and the content
(:mod:`canvas_collab.protocol.contents`).
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from canvas_collab.protocol.contents import cut_content, skip_content, skip_string
from canvas_collab.protocol.info import GC, KEY, KIND, ORIGIN, RIGHT_ORIGIN, SKIP
from canvas_collab.protocol.lib0 import Malformed, encode_var_uint, read_var_uint

#: The highest clock that every engine can count to; no document of people's making comes near it.
MAX_CLOCK = 2**32 - 1

#: A run ends with the struct that brings it to so many bytes, so that looking for a place in it takes little time.
RUN_SIZE = 16 * 2**10

_STRETCHES = frozenset((GC, SKIP))


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
        if data[start] & KIND == SKIP:
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
    return bytes((SKIP,)) + encode_var_uint(length)


def _read_struct(data: bytes, position: int, client: int, clock: int) -> tuple[int, int, int]:
    """Read a client's struct at `position`: its length in clocks, where its content begins, and where it ends."""
    try:
        info = data[position]
        kind = info & KIND
        position += 1
        if kind in _STRETCHES:
            if kind == SKIP and info != SKIP:
                raise Malformed("a skipped stretch has fields of an item")
            length, stop = read_var_uint(data, position)
            return length, position, stop
        if info & (ORIGIN | RIGHT_ORIGIN):
            if info & ORIGIN:
                position = _skip_known_id(data, position, client, clock)
            if info & RIGHT_ORIGIN:
                position = _skip_known_id(data, position, client, clock)
        else:
            named, position = read_var_uint(data, position)
            position = skip_string(data, position) if named == 1 else _skip_known_id(data, position, client, clock)
            if info & KEY:
                position = skip_string(data, position)
        length, stop = skip_content(data, position, kind)
    except IndexError:
        raise Malformed("the update ends inside a struct") from None
    return length, position, stop


def cut_struct(data: bytes, struct: Struct, start: int, end: int, client: int) -> bytes:
    """The part of a struct between two clocks.  Like Yjs, what is cut off in front becomes its origin."""
    start, end = max(start, struct.clock), min(end, struct.end)
    if (start, end) == (struct.clock, struct.end):
        return data[struct.start : struct.stop]
    info = data[struct.start]
    kind = info & KIND
    content = cut_content(data, struct.content, kind, start - struct.clock, end - struct.clock)
    if kind == GC:
        return bytes((info,)) + content
    if start == struct.clock:
        return data[struct.start : struct.content] + content
    position = struct.start + 1
    right_origin = b""
    if info & ORIGIN:
        position = _skip_id(data, position)
    if info & RIGHT_ORIGIN:
        right_origin = data[position : _skip_id(data, position)]
    head = bytes((info & (RIGHT_ORIGIN | KEY | KIND) | ORIGIN,))
    return head + encode_var_uint(client) + encode_var_uint(start - 1) + right_origin + content


def _skip_id(data: bytes, position: int) -> int:
    return read_var_uint(data, read_var_uint(data, position)[1])[1]


def _skip_known_id(data: bytes, position: int, client: int, clock: int) -> int:
    """The id of a struct that one of `client` at `clock` builds on; its own have to come before it.

    Yjs waits for those of others that it does not know yet, and breaks on a client's own.
    """
    author, position = read_var_uint(data, position)
    known, position = read_var_uint(data, position)
    if author == client and known >= clock:
        raise Malformed("a struct builds on one that comes after it")
    return position
