"""Reading the structs of one client in an update to runs, a step at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from canvas_collab.protocol.contents import UNFINISHED
from canvas_collab.protocol.lib0 import Malformed, TooLarge
from canvas_collab.protocol.steps import BYTES_PER_STEP, STRUCTS_PER_STEP, Steps
from canvas_collab.protocol.struct_info import DELETED, GC, KEY, KIND, ORIGIN, RIGHT_ORIGIN, SKIP
from canvas_collab.protocol.structs import MAX_CLOCK, RUN_SIZE, Run, read_struct, skip_rest_of_struct

if TYPE_CHECKING:
    from mypy_extensions import i64


@final
class RunReader:
    """Reads a client's structs to runs, none of them much larger than :data:`~canvas_collab.protocol.structs.RUN_SIZE`.

    A small update is read with one call of :meth:`read_step`, without a generator; :meth:`read_rest` reads the rest of
    a large one.
    """

    __slots__ = (
        "_client",
        "_clock",
        "_content",
        "_data",
        "_first",
        "_first_clock",
        "_in_run",
        "_lists_at_keys",
        "_max_runs",
        "_remaining",
        "is_long",
        "position",
        "runs",
    )

    def __init__(
        self,
        data: bytes,
        position: i64,
        count: i64,
        client: i64,
        clock: i64,
        max_runs: i64,
        lists_at_keys: list[tuple[int, int, int]],
    ) -> None:
        """:param position: where the first of `count` structs begins, which is at `clock`.
        :param max_runs: the number of runs that are allowed.
        :param lists_at_keys: the client, the first clock and the end of every item with a key and several values is
            appended to it.
        """
        self._data: bytes = data
        self._remaining: i64 = count
        self._client: i64 = client
        self._clock: i64 = clock
        self._max_runs: i64 = max_runs
        self._lists_at_keys = lists_at_keys
        # The run that was not ended yet: its first byte, its first clock, and the number of its structs.
        self._first: i64 = position
        self._first_clock: i64 = clock
        self._in_run: i64 = 0
        #: The position of the next struct; after the last, of what follows.
        self.position: i64 = position
        #: Whether the next struct is too long for one step.
        self.is_long = False
        # Where the content of that struct begins.
        self._content: i64 = 0
        #: The runs so far; complete when everything is read.
        self.runs: list[Run] = []

    def read_step(self) -> bool:
        """Read the structs of one step, and return whether these were the last.

        It also ends before a struct that is too long for one step.

        :raises Malformed: if the bytes are not structs, or not structs that every client can read.
        :raises TooLarge: if there are more runs than allowed.
        """
        data, client = self._data, self._client
        position, clock, count = self.position, self._clock, self._remaining
        in_step: i64 = STRUCTS_PER_STEP
        step_end: i64 = position + BYTES_PER_STEP
        while count and in_step and position <= step_end:
            start: i64 = position
            length, content, position = read_struct(data, start, client, clock)
            if position == UNFINISHED:
                position, self._content = start, content
                self.is_long = True
                break
            self._add(start, position, clock, length)
            clock += length
            count -= 1
            in_step -= 1
        self.position, self._clock, self._remaining = position, clock, count
        if count:
            if len(self.runs) > self._max_runs:
                raise TooLarge("the update has too many gaps")
            return False
        self._end_run(position, clock)
        return True

    def read_rest(self) -> Steps[None]:
        """Read what :meth:`read_step` has left, in steps."""
        while True:
            if self.is_long:
                self.is_long = False
                start = self.position
                kind = self._data[start] & KIND
                length, stop = yield from skip_rest_of_struct(self._data, self._content, kind)
                self._add(start, stop, self._clock, length)
                self.position = stop
                self._clock += length
                self._remaining -= 1
            yield
            if self.read_step():
                return

    def _add(self, start: i64, stop: i64, clock: i64, length: i64) -> None:
        """Add the struct from the byte `start` up to `stop`, with `length` clocks from `clock` on."""
        end: i64 = clock + length
        if not length or end > MAX_CLOCK:
            raise Malformed("a struct is empty, or its clock too high")
        info: i64 = self._data[start]
        kind: i64 = info & KIND
        if length > 1 and info & (ORIGIN | RIGHT_ORIGIN | KEY) == KEY and kind != GC and kind != DELETED:
            # The item names its key itself, rather than inheriting it, and has content that can be split.
            self._lists_at_keys.append((self._client, clock, end))
        if kind == SKIP:
            self._end_run(start, clock)
            self._first, self._first_clock = stop, end
            return
        self._in_run += 1
        if stop - self._first >= RUN_SIZE:
            self._end_run(stop, end)

    def _end_run(self, stop: i64, end: i64) -> None:
        """End the run at the byte `stop`, where the clock is `end`, and begin the next there."""
        if self._in_run:
            self.runs.append(Run(self._first_clock, end, self._in_run, self._data[self._first : stop]))
            self._first, self._first_clock, self._in_run = stop, end, 0
