"""The structs of a Yjs update: validating them, finding where each begins and ends, and slicing them.

The format is that of Yjs's update format 1 (``readClientsStructRefs`` and ``Item.write`` of the npm package ``yjs``
13): an info byte (:mod:`canvas_collab.protocol.struct_info`), the fields that it announces, and the content
(:mod:`canvas_collab.protocol.contents`).
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from canvas_collab.protocol.contents import UNFINISHED, ContentSlicer, skip_content, skip_long_content, skip_string
from canvas_collab.protocol.lib0 import Malformed, TooLarge, encode_var_uint, read_var_uint
from canvas_collab.protocol.steps import BYTES_PER_STEP, STRUCTS_PER_STEP, Steps, run_to_completion
from canvas_collab.protocol.struct_info import DELETED, GC, KEY, KIND, ORIGIN, RIGHT_ORIGIN, SKIP

#: The highest clock that every implementation of Yjs supports; no document edited by people comes near it.
MAX_CLOCK = 2**32 - 1

#: A run ends with the struct that brings it to this many bytes, so that finding a clock in a run takes little time.
RUN_SIZE = 16 * 2**10

_GC_OR_SKIP = frozenset((GC, SKIP))


@frozen
class Run:
    """Consecutive structs of one client without a gap, from `clock` up to, not including, `end`.

    `count` is the number of structs, and `data` their encoding.
    """

    clock: int
    end: int
    count: int
    data: bytes


@frozen
class Struct:
    """The position of a struct in a run.

    The struct covers the clocks from `clock` up to `end` and the bytes from `start` up to `stop`; its content begins at
    `content`.
    """

    clock: int
    end: int
    start: int
    content: int
    stop: int


def read_runs(
    data: bytes,
    position: int,
    count: int,
    client: int,
    clock: int,
    max_runs: int,
    lists_at_keys: list[tuple[int, int, int]],
) -> Steps[tuple[list[Run], int]]:
    """Read `count` structs of a client, the first at `clock`, in steps.

    Returns their runs, none of them much larger than :data:`RUN_SIZE`, and the position after them.

    :param max_runs: the number of runs that are allowed.
    :param lists_at_keys: the client, the first clock and the end of every item with a key and several values is
        appended to it.
    :raises Malformed: if the bytes are not structs, or not structs that every client can read.
    :raises TooLarge: if there are more runs.
    """
    runs: list[Run] = []
    first, first_clock, in_run = position, clock, 0
    remaining, step_end = STRUCTS_PER_STEP, position + BYTES_PER_STEP
    for _ in range(count):
        start = position
        length, content, position = _read_struct(data, position, client, clock)
        if position == UNFINISHED:
            length, position = yield from _skip_long_content(data, content, data[start] & KIND)
        if not length or clock + length > MAX_CLOCK:
            raise Malformed("a struct is empty, or its clock too high")
        if length > 1 and _has_list_at_key(data[start]):
            lists_at_keys.append((client, clock, clock + length))
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
        remaining -= 1
        if not remaining or position > step_end:
            if len(runs) > max_runs:
                raise TooLarge("the update has too many gaps")
            yield
            remaining, step_end = STRUCTS_PER_STEP, position + BYTES_PER_STEP
    if in_run:
        runs.append(Run(first_clock, clock, in_run, data[first:position]))
    return runs, position


def _has_list_at_key(info: int) -> bool:
    """Whether an item names its key itself, rather than inheriting it, and has content that can be split."""
    return info & (ORIGIN | RIGHT_ORIGIN | KEY) == KEY and info & KIND not in (GC, DELETED)


class RunSlicer:
    """Slices a client's run, from front to back, reading its structs once."""

    __slots__ = ("_client", "_run", "_slicer", "_struct", "_structs")

    def __init__(self, run: Run, client: int) -> None:
        self._run = run
        self._client = client
        self._structs = read_structs_in_steps(run, client)
        self._struct: Struct | None = None
        self._slicer: _StructSlicer | None = None

    def slice(self, start: int, end: int) -> Steps[Run]:
        """Return the part from the clock `start` up to `end`, in steps.

        Both must be in the run, and `start` not before the end of the last slice.
        """
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
                if self._slicer is None:
                    self._slicer = _StructSlicer(run.data, struct, self._client)
                    yield from self._slicer.prepare()
                parts.append(self._slicer.slice(max(start, struct.clock), min(end, struct.end)))
            if struct.end >= end:
                return Run(max(start, run.clock), min(end, run.end), len(parts), b"".join(parts))
            yield from self._next()

    def _next(self) -> Steps[Struct]:
        self._slicer = None
        while (struct := next(self._structs)) is None:
            yield
        self._struct = struct
        return struct


def slice_run(run: Run, start: int, end: int, client: int) -> Run:
    """Return the part of a client's run from the clock `start` up to `end`, which must be in the run."""
    return run_to_completion(RunSlicer(run, client).slice(start, end))


def read_structs(run: Run, client: int) -> Iterator[Struct]:
    """Iterate over the structs of a client's run, in order."""
    for struct in read_structs_in_steps(run, client):
        if struct is not None:
            yield struct


def read_structs_in_steps(run: Run, client: int) -> Iterator[Struct | None]:
    """Iterate over the structs of a client's run, in order; yields None at the end of each step."""
    data, position, clock = run.data, 0, run.clock
    for index in range(run.count):
        start = position
        length, content, position = _read_struct(data, position, client, clock)
        if position == UNFINISHED:
            skipping = _skip_long_content(data, content, data[start] & KIND)
            while True:
                try:
                    next(skipping)
                except StopIteration as end:
                    length, position = end.value
                    break
                yield None
        yield Struct(clock, clock + length, start, content, position)
        clock += length
        if index % STRUCTS_PER_STEP == STRUCTS_PER_STEP - 1:
            yield None


def join_runs(first: Run, second: Run) -> Run:
    """Join two runs of one client; the second must begin where the first ends."""
    return Run(first.clock, second.end, first.count + second.count, first.data + second.data)


def encode_skip(length: int) -> bytes:
    """Encode the skip struct for a gap of `length` clocks."""
    return bytes((SKIP,)) + encode_var_uint(length)


def _read_struct(data: bytes, position: int, client: int, clock: int) -> tuple[int, int, int]:
    """Validate a client's struct at `position`.

    Returns its length in clocks, the position of its content, and the position after it, which is :data:`UNFINISHED` if
    the content is too long for one step.
    """
    try:
        info = data[position]
        kind = info & KIND
        position += 1
        if kind in _GC_OR_SKIP:
            if kind == SKIP and info != SKIP:
                raise Malformed("a skip has fields of an item")
            length, stop = read_var_uint(data, position)
            return length, position, stop
        if info & (ORIGIN | RIGHT_ORIGIN):
            if info & ORIGIN:
                position = _skip_dependency(data, position, client, clock)
            if info & RIGHT_ORIGIN:
                position = _skip_dependency(data, position, client, clock)
        else:
            named, position = read_var_uint(data, position)
            position = skip_string(data, position) if named == 1 else _skip_dependency(data, position, client, clock)
            if info & KEY:
                position = skip_string(data, position)
        length, stop = skip_content(data, position, kind)
    except IndexError:
        raise Malformed("the update ends inside a struct") from None
    return length, position, stop


class _StructSlicer:
    """Slices one struct, any number of times; :meth:`prepare` must have run before."""

    __slots__ = ("_client", "_content", "_head", "_part_head", "_struct")

    def __init__(self, data: bytes, struct: Struct, client: int) -> None:
        info = data[struct.start]
        kind = info & KIND
        self._struct = struct
        self._client = client
        self._content = ContentSlicer(data, kind)
        self._head = data[struct.start : struct.content]
        # For parts that do not begin with the item: the bytes before and after the clock of the origin.
        self._part_head: tuple[bytes, bytes] | None = None
        if kind != GC:
            position = struct.start + 1
            right_origin = b""
            if info & ORIGIN:
                position = _skip_id(data, position)
            if info & RIGHT_ORIGIN:
                right_origin = data[position : _skip_id(data, position)]
            part_info = bytes((info & (RIGHT_ORIGIN | KEY | KIND) | ORIGIN,))
            self._part_head = part_info + encode_var_uint(client), right_origin

    def prepare(self) -> Steps[None]:
        """Find where the struct can be cut, in steps."""
        return self._content.prepare(self._struct.content)

    def slice(self, start: int, end: int) -> bytes:
        """Return the struct that covers the clocks from `start` up to `end`."""
        clock = self._struct.clock
        content = self._content.slice(start - clock, end - clock)
        if start == clock or self._part_head is None:
            return self._head + content
        front, right_origin = self._part_head
        return front + encode_var_uint(start - 1) + right_origin + content


def _skip_long_content(data: bytes, content: int, kind: int) -> Steps[tuple[int, int]]:
    """Validate the long content of a struct; returns the struct's length in clocks, and the position after it."""
    try:
        return (yield from skip_long_content(data, content, kind))
    except IndexError:
        raise Malformed("the update ends inside a struct") from None


def _skip_id(data: bytes, position: int) -> int:
    return read_var_uint(data, read_var_uint(data, position)[1])[1]


def _skip_dependency(data: bytes, position: int, client: int, clock: int) -> int:
    """Skip an id that the struct of `client` at `clock` refers to; an id of the same client must be before it.

    Yjs waits for structs of other clients that it does not have yet, but fails on a reference to a later struct of the
    same client.
    """
    other_client, position = read_var_uint(data, position)
    other_clock, position = read_var_uint(data, position)
    if other_client == client and other_clock >= clock:
        raise Malformed("a struct refers to a later one of its client")
    return position
