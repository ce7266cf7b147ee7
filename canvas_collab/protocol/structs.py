"""The structs of a Yjs update: validating them, finding where each begins and ends, and slicing them.

The format is that of Yjs's update format 1 (``readClientsStructRefs`` and ``Item.write`` of the npm package ``yjs``
13): an info byte (:mod:`canvas_collab.protocol.struct_info`), the fields that it announces, and the content
(:mod:`canvas_collab.protocol.contents`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, final

from canvas_collab.protocol.content_values import skip_string
from canvas_collab.protocol.contents import UNFINISHED, ContentSlicer, skip_content, skip_long_content
from canvas_collab.protocol.lib0 import Malformed, encode_var_uint, read_var_uint
from canvas_collab.protocol.steps import STRUCTS_PER_STEP, Steps, run_to_completion
from canvas_collab.protocol.struct_info import GC, KEY, KIND, ORIGIN, RIGHT_ORIGIN, SKIP

if TYPE_CHECKING:
    from mypy_extensions import i64

#: The highest clock that every implementation of Yjs supports; no document edited by people comes near it.
MAX_CLOCK: Final = 2**32 - 1

#: A run ends with the struct that brings it to this many bytes, so that finding a clock in a run takes little time.
RUN_SIZE: Final = 16 * 2**10


@final
class Run:
    """Consecutive structs of one client without a gap, from `clock` up to, not including, `end`.

    `count` is the number of structs, and `data` their encoding.  A run never changes.
    """

    # Every struct received is in one: written out, this takes a fraction of the time that a class of attrs does.
    __slots__ = ("clock", "count", "data", "end")

    def __init__(self, clock: i64, end: i64, count: i64, data: bytes) -> None:
        self.clock: Final[i64] = clock
        self.end: Final[i64] = end
        self.count: Final[i64] = count
        self.data: Final[bytes] = data

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Run):
            return NotImplemented
        is_equal = self.clock == other.clock and self.end == other.end and self.count == other.count
        return is_equal and self.data == other.data

    def __hash__(self) -> int:
        return hash((self.clock, self.end, self.count, self.data))

    def __repr__(self) -> str:
        return f"Run(clock={self.clock}, end={self.end}, count={self.count}, data={self.data!r})"


@final
class Struct:
    """The position of a struct in a run.

    The struct covers the clocks from `clock` up to `end` and the bytes from `start` up to `stop`; its content begins at
    `content`.
    """

    __slots__ = ("clock", "content", "end", "start", "stop")

    def __init__(self, clock: i64, end: i64, start: i64, content: i64, stop: i64) -> None:
        self.clock: Final[i64] = clock
        self.end: Final[i64] = end
        self.start: Final[i64] = start
        self.content: Final[i64] = content
        self.stop: Final[i64] = stop


@final
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
        length, content, position = read_struct(data, position, client, clock)
        if position == UNFINISHED:
            skipping = skip_rest_of_struct(data, content, data[start] & KIND)
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


def read_struct(data: bytes, position: i64, client: i64, clock: i64) -> tuple[i64, i64, i64]:
    """Validate a client's struct at `position`.

    Returns its length in clocks, the position of its content, and the position after it, which is :data:`UNFINISHED` if
    the content is too long for one step.
    """
    try:
        info: i64 = data[position]
        kind: i64 = info & KIND
        position += 1
        if kind in (GC, SKIP):
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


@final
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


def skip_rest_of_struct(data: bytes, content: int, kind: int) -> Steps[tuple[int, int]]:
    """Validate the long content of a struct; returns the struct's length in clocks, and the position after it."""
    try:
        return (yield from skip_long_content(data, content, kind))
    except IndexError:
        raise Malformed("the update ends inside a struct") from None


def _skip_id(data: bytes, position: i64) -> i64:
    return read_var_uint(data, read_var_uint(data, position)[1])[1]


def _skip_dependency(data: bytes, position: i64, client: i64, clock: i64) -> i64:
    """Skip an id that the struct of `client` at `clock` refers to; an id of the same client must be before it.

    Yjs waits for structs of other clients that it does not have yet, but fails on a reference to a later struct of the
    same client.
    """
    other_client, position = read_var_uint(data, position)
    other_clock, position = read_var_uint(data, position)
    if other_client == client and other_clock >= clock:
        raise Malformed("a struct refers to a later one of its client")
    return position
