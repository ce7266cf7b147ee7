"""The structs of a Yjs update: finding where each begins and ends, and cutting one where two updates overlap.

The format is that of Yjs's update encoding, version 1 (``readClientsStructRefs`` and ``Item.write`` of the npm package
``yjs`` 13): an info byte (:mod:`canvas_collab.protocol.struct_info`), what it says follows, and the content
(:mod:`canvas_collab.protocol.contents`).
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from canvas_collab.protocol.contents import UNFINISHED, ContentCutter, skip_content, skip_long_content, skip_string
from canvas_collab.protocol.lib0 import Malformed, TooLarge, encode_var_uint, read_var_uint
from canvas_collab.protocol.steps import BYTES_PER_STEP, STRUCTS_PER_STEP, Steps, run_to_completion
from canvas_collab.protocol.struct_info import DELETED, GC, KEY, KIND, ORIGIN, RIGHT_ORIGIN, SKIP

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


def read_runs(
    data: bytes, position: int, count: int, client: int, clock: int, most: int, at_keys: list[tuple[int, int, int]]
) -> Steps[tuple[list[Run], int]]:
    """Read `count` structs of a client, the first at `clock`.

    Returns their runs, none of them much larger than :data:`RUN_SIZE`, and where in `data` they end.

    :param most: how many runs there may be.
    :param at_keys: gets the client, the first clock and the end of every item of several clocks that has a key.
    :raises Malformed: if they are not structs, or not such as every client can read.
    :raises TooLarge: if there are more runs.
    """
    runs: list[Run] = []
    first, first_clock, in_run = position, clock, 0
    left, step_end = STRUCTS_PER_STEP, position + BYTES_PER_STEP
    for _ in range(count):
        start = position
        length, content, position = _read_struct(data, position, client, clock)
        if position == UNFINISHED:
            length, position = yield from _finish(data, content, data[start] & KIND)
        if not length or clock + length > MAX_CLOCK:
            raise Malformed("a struct is empty, or its clock too high")
        if length > 1 and _has_list_at_key(data[start]):
            at_keys.append((client, clock, clock + length))
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
        left -= 1
        if not left or position > step_end:
            if len(runs) > most:
                raise TooLarge("the update has too many gaps")
            yield
            left, step_end = STRUCTS_PER_STEP, position + BYTES_PER_STEP
    if in_run:
        runs.append(Run(first_clock, clock, in_run, data[first:position]))
    return runs, position


def _has_list_at_key(info: int) -> bool:
    """Whether an item says by itself that it is at a key, and has content that can be cut."""
    return info & (ORIGIN | RIGHT_ORIGIN | KEY) == KEY and info & KIND not in (GC, DELETED)


class RunCutter:
    """Cuts parts out of a client's run, from front to back, going through its structs once."""

    __slots__ = ("_client", "_cutter", "_run", "_struct", "_structs")

    def __init__(self, run: Run, client: int) -> None:
        self._run = run
        self._client = client
        self._structs = structs_in_steps(run, client)
        self._struct: Struct | None = None
        self._cutter: _StructCutter | None = None

    def cut(self, start: int, end: int) -> Steps[Run]:
        """The part from the clock `start` up to `end`, which lie in the run, after the part that was cut last."""
        run = self._run
        if start <= run.clock and end >= run.end:
            return run
        parts: list[bytes] = []
        while True:
            struct = self._struct
            while struct is None or struct.end <= start:
                struct = yield from self._next()
            if start <= struct.clock and struct.end <= end:
                parts.append(run.data[struct.start : struct.stop])
            else:
                if self._cutter is None:
                    self._cutter = _StructCutter(run.data, struct, self._client)
                    yield from self._cutter.look_through()
                parts.append(self._cutter.cut(max(start, struct.clock), min(end, struct.end)))
            if struct.end >= end:
                return Run(max(start, run.clock), min(end, run.end), len(parts), b"".join(parts))
            yield from self._next()

    def _next(self) -> Steps[Struct]:
        self._cutter = None
        while (struct := next(self._structs)) is None:
            yield
        self._struct = struct
        return struct


def cut_run(run: Run, start: int, end: int, client: int) -> Run:
    """The part of a client's run from the clock `start` up to `end`, which must lie within it and in this order."""
    return run_to_completion(RunCutter(run, client).cut(start, end))


def structs_of(run: Run, client: int) -> Iterator[Struct]:
    """The structs of a client's run, in order."""
    return (struct for struct in structs_in_steps(run, client) if struct is not None)


def structs_in_steps(run: Run, client: int) -> Iterator[Struct | None]:
    """The structs of a run, and now and then None, where a step ends."""
    data, position, clock = run.data, 0, run.clock
    for index in range(run.count):
        start = position
        length, content, position = _read_struct(data, position, client, clock)
        if position == UNFINISHED:
            finishing = _finish(data, content, data[start] & KIND)
            while True:
                try:
                    next(finishing)
                except StopIteration as end:
                    length, position = end.value
                    break
                yield None
        yield Struct(clock, clock + length, start, content, position)
        clock += length
        if index % STRUCTS_PER_STEP == STRUCTS_PER_STEP - 1:
            yield None


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


class _StructCutter:
    """Cuts one struct, as often as is wanted."""

    __slots__ = ("_client", "_content", "_head", "_rest_head", "_struct")

    def __init__(self, data: bytes, struct: Struct, client: int) -> None:
        info = data[struct.start]
        kind = info & KIND
        self._struct = struct
        self._client = client
        self._content = ContentCutter(data, kind)
        self._head = data[struct.start : struct.content]
        # Of a part that does not begin with the item: everything but its origin, which is the clock before it.
        self._rest_head: tuple[bytes, bytes] | None = None
        if kind != GC:
            position = struct.start + 1
            right_origin = b""
            if info & ORIGIN:
                position = _skip_id(data, position)
            if info & RIGHT_ORIGIN:
                right_origin = data[position : _skip_id(data, position)]
            rest_info = bytes((info & (RIGHT_ORIGIN | KEY | KIND) | ORIGIN,))
            self._rest_head = rest_info + encode_var_uint(client), right_origin

    def look_through(self) -> Steps[None]:
        """Find out where it can be cut."""
        return self._content.look_through(self._struct.content)

    def cut(self, start: int, end: int) -> bytes:
        """The part between two clocks of the struct."""
        clock = self._struct.clock
        content = self._content.cut(start - clock, end - clock)
        if start == clock or self._rest_head is None:
            return self._head + content
        front, right_origin = self._rest_head
        return front + encode_var_uint(start - 1) + right_origin + content


def _finish(data: bytes, content: int, kind: int) -> Steps[tuple[int, int]]:
    """Check the long content of a struct; returns the struct's length in clocks, and where it ends."""
    try:
        return (yield from skip_long_content(data, content, kind))
    except IndexError:
        raise Malformed("the update ends inside a struct") from None


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
