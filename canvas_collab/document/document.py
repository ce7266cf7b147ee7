"""The lossless state of one Yjs document: the structs and deletions of all its updates, merged but never integrated.

Integrating an update means to work out where its structs end up in the document, and engines differ in what they keep
of what they do not expect: gaps, characters cut in half, values that only JavaScript has.  Here every struct stays the
bytes it came in.  What is kept beside them is which clocks of which client they are, and that answers all that a
server is asked: what is known, whether an update brings anything new, what a client lacks.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence

from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.layout import encode_layout_in_steps
from canvas_collab.protocol.ranges import Range
from canvas_collab.protocol.state_vector import encode_state_vector_in_steps, read_state_vector
from canvas_collab.protocol.steps import RUNS_PER_STEP, Steps, run_to_completion
from canvas_collab.protocol.structs import RUN_SIZE, Run, RunCutter, cut_run, join_runs
from canvas_collab.protocol.update import RUN_WEIGHT, Update, decode_update, encode_update, encode_update_in_steps

#: A run is joined with the one before it unless that is at least this many times larger, so that every byte is copied
#: a bounded number of times, and the latest edits lie in small runs.
SIZE_RATIO = 4

#: Runs that are put in their places together have at most so many others between them.
CLOSE = 4 * RUNS_PER_STEP


class Document:
    """Everything that is known of one document.  Updates go in and are never lost; differences come out.

    What can take long is there in steps as well (:mod:`canvas_collab.protocol.steps`).  Between these anything else may
    be done with the document: it is whole after each step.
    """

    __slots__ = ("_clocks", "_deletions", "_run_count", "_runs", "_size", "version")

    def __init__(self, updates: Iterable[Update] = ()) -> None:
        """Start from what is stored."""
        # For each client, runs in order and without overlap; where one ends the next begins, or there is a gap.
        self._runs: dict[int, list[Run]] = {}
        # For each client of which anything is there from the beginning, up to which clock everything is.
        self._clocks: dict[int, int] = {}
        self._deletions = DeleteSet()
        self._size = 0
        self._run_count = 0
        #: How often something has come in.
        self.version = 0
        for update in updates:
            self.apply(update)

    @property
    def size(self) -> int:
        """How many bytes the structs take."""
        return self._size

    @property
    def weight(self) -> int:
        """About how many bytes the document takes in memory, its gaps and deletions included."""
        return self._size + self._run_count * RUN_WEIGHT + self._deletions.weight

    @property
    def state_vector(self) -> bytes:
        """The document's state vector, encoded: for every client, up to which clock everything is there."""
        return run_to_completion(self.encode_state_vector())

    def encode_state_vector(self) -> Steps[bytes]:
        """:attr:`state_vector` in steps."""
        return encode_state_vector_in_steps(self._clocks)

    @property
    def clocks(self) -> dict[int, int]:
        """For every client, up to which clock everything is there."""
        return dict(self._clocks)

    @property
    def deletions(self) -> DeleteSet:
        """What is deleted."""
        return self._deletions

    def append(self, data: bytes) -> Update:
        """Take an update in, and return what it holds.

        :raises Malformed: if it is no update; the document is as before then.
        """
        update = decode_update(data)
        self.apply(update)
        return update

    def apply(self, update: Update) -> Update:
        """Take in an update that has been decoded.  Of a struct that is known already, the first version stays.

        Returns the update, less what was known of it; if nothing was, that very update.
        """
        return run_to_completion(self.merge(update))

    def merge(self, update: Update) -> Steps[Update]:
        """:meth:`apply` in steps."""
        news: dict[int, list[Run]] = {}
        left = RUNS_PER_STEP
        for client, runs in update.runs.items():
            known = self._runs.get(client)
            if known is None:
                known = self._runs[client] = []
            for place, run in enumerate(runs):
                if known and run.clock < known[-1].end:
                    news[client] = [*runs[:place], *(yield from self._fill(known, runs[place:], client))]
                    break
                self._append(known, run, client)
                left -= 1
                if not left:
                    yield
                    left = RUNS_PER_STEP
        deletions = update.deletions
        if deletions:
            deletions = yield from self._deletions.absorb(deletions)
            self.version += 1
        if not news and deletions is update.deletions:
            return update
        taken = {client: news.get(client, runs) for client, runs in update.runs.items()}
        return Update({client: runs for client, runs in taken.items() if runs}, deletions)

    def lacks_any_of(self, update: Update) -> bool:
        """Whether an update would bring any struct or deletion that is not known."""
        return run_to_completion(self.lacks_any_of_in_steps(update))

    def lacks_any_of_in_steps(self, update: Update) -> Steps[bool]:
        """:meth:`lacks_any_of` in steps."""
        left = RUNS_PER_STEP
        for client, runs in update.runs.items():
            known = self._runs.get(client, [])
            for run in runs:
                clock = run.clock
                while clock < run.end:
                    gaps, clock = _gaps(known, clock, run.end)
                    if gaps:
                        return True
                    left -= 1
                    if not left:
                        yield
                        left = RUNS_PER_STEP
        return (yield from self._deletions.lacks_any(update.deletions))

    def encode_diff(self, state_vector: bytes) -> bytes:
        """The update that someone with `state_vector` lacks.

        A state vector says nothing of deletions, so all of them are always part of the answer.

        :raises Malformed: if the bytes are not a state vector.
        """
        return run_to_completion(self.encode_diff_in_steps(state_vector))

    def encode_diff_in_steps(self, state_vector: bytes) -> Steps[bytes]:
        """:meth:`encode_diff` in steps."""
        clocks = yield from read_state_vector(state_vector, self._runs)
        return (yield from self.diff(clocks))

    def diff(self, clocks: Mapping[int, int]) -> Steps[bytes]:
        """The update that someone lacks who has everything up to these clocks, in steps."""
        missing: dict[int, Sequence[Run]] = {}
        left = RUNS_PER_STEP
        for client in list(self._runs):
            runs, clock = self._runs[client], clocks.get(client, 0)
            if runs and clock < runs[-1].end:
                found = runs[bisect_right(runs, clock, key=lambda run: run.end) :]
                if found[0].clock < clock:
                    found[0] = yield from RunCutter(found[0], client).cut(clock, found[0].end)
                missing[client] = found
            left -= 1
            if not left:
                yield
                left = RUNS_PER_STEP
        return (yield from encode_update_in_steps(missing, self._deletions))

    def encode(self) -> bytes:
        """The whole document as one update."""
        return encode_update(self._runs, self._deletions)

    def as_update(self) -> Update:
        """The whole document as one update, not encoded; it changes with the document."""
        return Update(self._runs, self._deletions)

    @property
    def layout(self) -> bytes:
        """The layout of what :meth:`encode` returns, see :mod:`canvas_collab.protocol.layout`."""
        return run_to_completion(self.encode_layout())

    def encode_layout(self) -> Steps[bytes]:
        """:attr:`layout` in steps; nothing may come in meanwhile."""
        return encode_layout_in_steps(self._runs)

    def _append(self, runs: list[Run], run: Run, client: int) -> None:
        """Put a run behind all others of its client."""
        self.version += 1
        self._size += len(run.data)
        self._run_count += 1 - len(runs)
        if run.clock == self._clocks.get(client, 0):
            self._clocks[client] = run.end
        _push(runs, run)
        self._run_count += len(runs) - 1

    def _fill(self, known: list[Run], runs: Iterable[Run], client: int) -> Steps[list[Run]]:
        """Put what is not known of a client's runs where it belongs; returns that."""
        new: list[Run] = []
        parts: list[Run] = []
        left = RUNS_PER_STEP
        for run in runs:
            cutter = RunCutter(run, client)
            clock = run.clock
            while clock < run.end:
                gaps, clock = _gaps(known, clock, run.end)
                for start, end in gaps:
                    parts.append((yield from cutter.cut(start, end)))
                left -= 1 + len(gaps)
                if left <= 0:
                    new += yield from self._insert_all(known, parts, client)
                    parts = []
                    yield
                    left = RUNS_PER_STEP
        new += yield from self._insert_all(known, parts, client)
        return new

    def _insert_all(self, known: list[Run], parts: Sequence[Run], client: int) -> Steps[list[Run]]:
        """Put runs in their places, those together that lie close together; returns what was unknown of them."""
        new: list[Run] = []
        group: list[Run] = []
        first = 0
        for part in parts:
            place = bisect_right(known, part.clock, key=lambda run: run.clock)
            if group and place - first > CLOSE:
                new += self._insert(known, group, client)
                yield
                group = []
                place = bisect_right(known, part.clock, key=lambda run: run.clock)
            if not group:
                first = place
            group.append(part)
        if group:
            new += self._insert(known, group, client)
        return new

    def _insert(self, known: list[Run], parts: Sequence[Run], client: int) -> Sequence[Run]:
        """Put runs in their places; returns what was still unknown of them.

        Since they were found to be missing, somebody else may have brought some.
        """
        parts = [left for part in parts for left in _not_in(known, part, client)]
        if not parts:
            return parts
        first = max(bisect_right(known, parts[0].clock, key=lambda run: run.clock) - 1, 0)
        last = bisect_left(known, parts[-1].end, key=lambda run: run.clock) + 1
        merged: list[Run] = []
        for run in sorted([*known[first:last], *parts], key=lambda run: run.clock):
            _push(merged, run)
        self.version += 1
        self._size += sum(len(part.data) for part in parts)
        self._run_count += len(merged) - len(known[first:last])
        known[first:last] = merged
        self._advance(known, client)
        return parts

    def _advance(self, known: list[Run], client: int) -> None:
        """Find out anew up to which clock everything of a client is there."""
        clock = self._clocks.get(client, 0)
        index = max(bisect_right(known, clock, key=lambda run: run.clock) - 1, 0)
        while index < len(known) and known[index].clock <= clock:
            clock = max(clock, known[index].end)
            index += 1
        if clock:
            self._clocks[client] = clock


def merge_updates(updates: Sequence[Update]) -> bytes:
    """One update that holds what all of them hold."""
    merged: dict[int, list[Run]] = {}
    deletions = DeleteSet()
    for update in updates:
        for client, runs in update.runs.items():
            known = merged.get(client)
            if known is None:
                merged[client] = [*runs]
            elif runs[0].clock >= known[-1].end:
                known.extend(runs)
            else:
                # They seldom come in another order than they were made in, or more than once.
                return Document(updates).encode()
        deletions.update(update.deletions)
    return encode_update(merged, deletions)


def _push(runs: list[Run], run: Run) -> None:
    """Put a run behind others, and join it with the last ones if they are not much larger."""
    while runs and _joins(runs[-1], run):
        run = join_runs(runs.pop(), run)
    runs.append(run)


def _joins(first: Run, second: Run) -> bool:
    """Whether two runs touch, are of like sizes, and are small together."""
    size = len(second.data)
    return first.end == second.clock and len(first.data) < SIZE_RATIO * size and len(first.data) + size <= RUN_SIZE


def _gaps(known: Sequence[Run], start: int, end: int, limit: int = RUNS_PER_STEP) -> tuple[list[Range], int]:
    """The stretches from `start` up to `end` that no known run covers, having looked at `limit` runs at most.

    Returns those, and the clock up to which that is the whole answer.
    """
    found: list[Range] = []
    index = bisect_right(known, start, key=lambda run: run.end)
    for place in range(index, min(index + limit, len(known))):
        run = known[place]
        if run.clock >= end:
            break
        if run.clock > start:
            found.append((start, run.clock))
        start = max(start, run.end)
    else:
        if index + limit < len(known):
            return found, min(start, end)
    if start < end:
        found.append((start, end))
    return found, end


def _not_in(known: Sequence[Run], part: Run, client: int) -> Sequence[Run]:
    """What of a run no known one covers."""
    gaps, _ = _gaps(known, part.clock, part.end, len(known) + 1)
    if gaps == [(part.clock, part.end)]:
        return (part,)
    return [cut_run(part, start, end, client) for start, end in gaps]
