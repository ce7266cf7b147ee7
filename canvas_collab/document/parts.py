"""Cutting what a client lacks into parts: updates that Yjs can integrate one after another.

Yjs keeps structs whose dependencies it lacks as pending, and merges all that is pending again with each update, which
takes quadratic time.  So a part has no struct before those that it depends on.  What cannot be ordered so, as something
is missing from the document, is in no part.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from attrs import define

from canvas_collab.document.barriers import Barrier, find_barriers
from canvas_collab.document.slicing import can_be_cut, cut_string
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.items import Id
from canvas_collab.protocol.steps import RANGES_PER_STEP, Steps
from canvas_collab.protocol.structs import MAX_CLOCK, RUN_SIZE, Run
from canvas_collab.protocol.update import Update

#: About how many bytes a run takes in an update beside its structs.
RUN_HEAD = 16

#: About how many bytes a range of a delete set takes.
RANGE_SIZE = 8


@define(eq=False)
class _Cursor:
    """How far a client's runs were ordered.

    :ivar index: the first run that is not wholly ordered.
    :ivar barriers: those of that run that are still ahead; None if the run was not begun.
    :ivar clock: where the rest of that run begins; `position` and `count` are the bytes and the structs before it.
    """

    runs: Sequence[Run]
    index: int = 0
    barriers: deque[Barrier] | None = None
    clock: int = 0
    position: int = 0
    count: int = 0
    is_blocked: bool = False

    @property
    def run(self) -> Run | None:
        """The first run that is not wholly ordered; None if there is none, or if it cannot be ordered."""
        return None if self.is_blocked or self.index == len(self.runs) else self.runs[self.index]


class Parts:
    """What a client lacks, in parts.

    The runs and the delete set are read when a part needs them, and never copied as a whole.
    """

    def __init__(
        self, missing: Mapping[int, Sequence[Run]], clocks: Mapping[int, int], deletions: DeleteSet, size: int
    ) -> None:
        """:param missing: for each client the runs that are to be sent.
        :param clocks: the client's state vector.
        :param deletions: those of the structs in a part are in the same part.
        :param size: how many bytes a part may have, unless a single struct has more.
        """
        self._cursors = {client: _Cursor(runs) for client, runs in missing.items()}
        self._deletions = deletions
        self._size = size
        # Larger structs are cut off their run, so that what is left of it fits in a part.
        self._large = max(size - RUN_SIZE, size // 2)
        # The clocks up to which everything is ordered, and those up to which it is in a part.
        self._known = dict(clocks)
        #: The client's state vector after the parts so far.
        self.clocks = dict(clocks)
        self._segments = self._order(list(missing))
        # What did not fit in the last part.
        self._left_over: tuple[int, Run] | None = None

    def next(self) -> Steps[Update | None]:
        """Return the next part, in steps; None if there is no other."""
        part: dict[int, list[Run]] = {}
        size = 0
        while (found := self._left_over or (yield from self._next_segment())) is not None:
            client, run = self._left_over = found
            if part and size + len(run.data) + RUN_HEAD > self._size:
                break
            self._left_over = None
            part.setdefault(client, []).append(run)
            self.clocks[client] = run.end
            size += len(run.data) + RUN_HEAD
        if not part:
            return None
        return Update(part, (yield from self._deletions_of(part)))

    def _next_segment(self) -> Steps[tuple[int, Run] | None]:
        for found in self._segments:
            if found is not None:
                return found
            yield
        return None

    def _deletions_of(self, part: Mapping[int, Sequence[Run]]) -> Steps[DeleteSet]:
        """Return what is deleted of the structs in a part."""
        found = DeleteSet()
        remaining = RANGES_PER_STEP
        for client, runs in part.items():
            first, end = runs[0].clock, runs[-1].end
            for start, stop in self._deletions.ranges(client).overlapping(first, end):
                found.add(client, max(start, first), min(stop, end))
                remaining -= 1
                if not remaining:
                    yield
                    remaining = RANGES_PER_STEP
        return found

    def _order(self, clients: Sequence[int]) -> Iterator[tuple[int, Run] | None]:
        """Iterate over segments of runs, each after all that it depends on; yields None at the end of each step."""
        for client in clients:
            # What has to be ordered, each for the one before it.
            path: list[Id] = [(client, MAX_CLOCK)]
            on_path = {client}
            while path:
                client, clock = path[-1]
                cursor = self._cursors[client]
                run = cursor.run
                if run is None or self._known.get(client, 0) > clock:
                    path.pop()
                    on_path.discard(client)
                    continue
                barriers = cursor.barriers
                if barriers is None:
                    barriers = yield from self._begin(cursor, run, client)
                    yield None
                    continue
                required = self._required(barriers[0])
                if cursor.clock < barriers[0].clock:
                    yield client, self._advance(cursor, run, client, barriers[0])
                elif required is None:
                    yield from self._pass(cursor, run, client, barriers)
                elif required[0] in on_path or required[0] not in self._cursors or self._is_lacking(required):
                    cursor.is_blocked = True
                else:
                    path.append(required)
                    on_path.add(required[0])

    def _begin(self, cursor: _Cursor, run: Run, client: int) -> Steps[deque[Barrier]]:
        """Find the barriers of a client's next run."""
        if run.clock > self._known.get(client, 0):
            cursor.is_blocked = True
        if len(self._cursors) == 1 and len(run.data) <= self._size:
            # The only client depends on no other.
            found = [Barrier(run.end, len(run.data), run.count)]
        else:
            found = yield from find_barriers(run, client, self._known, self._large)
        cursor.clock, cursor.position, cursor.count = run.clock, 0, 0
        cursor.barriers = deque(found)
        return cursor.barriers

    def _required(self, barrier: Barrier) -> Id | None:
        """Return a struct that has to be sent before the one at a barrier; None if there is none."""
        for identifier in barrier.dependencies:
            if identifier[1] >= self._known.get(identifier[0], 0):
                return identifier
        return None

    def _is_lacking(self, identifier: Id) -> bool:
        """Return whether a struct cannot be sent, since its client has no such struct or cannot be ordered so far."""
        return self._cursors[identifier[0]].run is None

    def _advance(self, cursor: _Cursor, run: Run, client: int, barrier: Barrier) -> Run:
        """Return the rest of the run up to a barrier."""
        if not cursor.position and barrier.position == len(run.data):
            segment = run
        else:
            data = run.data[cursor.position : barrier.position]
            segment = Run(cursor.clock, barrier.clock, barrier.index - cursor.count, data)
        cursor.clock, cursor.position, cursor.count = barrier.clock, barrier.position, barrier.index
        self._known[client] = barrier.clock
        return segment

    def _pass(
        self, cursor: _Cursor, run: Run, client: int, barriers: deque[Barrier]
    ) -> Iterator[tuple[int, Run] | None]:
        """Go past a barrier that has been reached; if a large string is after it, cut that."""
        barrier = barriers.popleft()
        if not barriers:
            cursor.index += 1
            cursor.barriers = None
        elif barrier.content and can_be_cut(run.data[barrier.position]):
            stop = barriers[0]
            content = barrier.content - barrier.position
            for piece in cut_string(
                run.data[barrier.position : stop.position], content, client, barrier.clock, self._size
            ):
                yield client, piece
                yield None
            cursor.clock, cursor.position, cursor.count = stop.clock, stop.position, stop.index
            self._known[client] = stop.clock


def split_deletions(deletions: DeleteSet, size: int) -> Iterator[DeleteSet]:
    """Iterate over parts of a delete set of about `size` bytes each; it may grow meanwhile.

    What is added meanwhile may be in a part or not.
    """
    count = max(size // RANGE_SIZE, 1)
    part = DeleteSet()
    for client, ranges in list(deletions.items()):
        clock = 0
        while found := list(islice(ranges.overlapping(clock, MAX_CLOCK), count - part.range_count)):
            for start, end in found:
                part.add(client, start, end)
            clock = found[-1][1]
            if part.range_count >= count:
                yield part
                part = DeleteSet()
    yield part
