"""A Yjs document as the server keeps it: the structs and deletions of all its updates, merged but never integrated.

Integration is left to the clients, since implementations of Yjs differ in what they preserve of input they do not
expect: gaps, split surrogate pairs, values that only JavaScript has.  Here every struct stays the bytes that were
received.  The clocks that these cover are all the server needs to answer its questions: the state vector, whether an
update has anything new, and what a client lacks.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import final

from canvas_collab.document.run_list import append_run, contiguous_end, find_gaps, insert_runs
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.layout import encode_layout_in_steps
from canvas_collab.protocol.state_vector import encode_state_vector_in_steps, read_state_vector
from canvas_collab.protocol.steps import RANGES_PER_STEP, RUNS_PER_STEP, Steps, run_to_completion
from canvas_collab.protocol.structs import Run, RunSlicer
from canvas_collab.protocol.update import RUN_WEIGHT, Update, decode_update, encode_update, encode_update_in_steps

#: Runs are inserted together if at most this many others are between them.
MAX_DISTANCE = 4 * RUNS_PER_STEP


@final
class Document:
    """The structs and deletions of one document.

    Operations that can take long are also available in steps (:mod:`canvas_collab.protocol.steps`).  The document is
    consistent after each step, and may be read and changed by others between the steps.
    """

    __slots__ = ("_clocks", "_deletions", "_run_count", "_runs", "_size", "version")

    def __init__(self, updates: Iterable[Update] = ()) -> None:
        """:param updates: the updates to begin with, such as a snapshot."""
        # The runs of each client, see canvas_collab.document.run_list.
        self._runs: dict[int, list[Run]] = {}
        # The state vector: for each client with structs from clock 0 on, the clock up to which there is no gap.
        self._clocks: dict[int, int] = {}
        self._deletions = DeleteSet()
        self._size = 0
        self._run_count = 0
        #: A number that grows whenever the document may have changed.
        self.version = 0
        for update in updates:
            self.apply(update)

    @property
    def size(self) -> int:
        """The size of all structs in bytes."""
        return self._size

    @property
    def weight(self) -> int:
        """The estimated memory that the document takes, gaps and deletions included, in bytes."""
        return self._size + self._run_count * RUN_WEIGHT + self._deletions.weight

    @property
    def state_vector(self) -> bytes:
        """The encoded state vector."""
        return run_to_completion(self.encode_state_vector())

    def encode_state_vector(self) -> Steps[bytes]:
        """:attr:`state_vector` in steps."""
        return encode_state_vector_in_steps(self._clocks)

    @property
    def clocks(self) -> dict[int, int]:
        """The state vector as ``{client id: clock}``."""
        return dict(self._clocks)

    @property
    def deletions(self) -> DeleteSet:
        """The delete set of the document; it changes with the document."""
        return self._deletions

    def append(self, data: bytes) -> Update:
        """Decode an update, apply it, and return all of it.

        :raises Malformed: if the bytes are not an update; the document is unchanged then.
        """
        update = decode_update(data)
        self.apply(update)
        return update

    def apply(self, update: Update) -> Update:
        """Apply a decoded update, and return its new part; `update` itself if all of it was new.

        Of structs that are known already, the version that came first is kept.
        """
        return run_to_completion(self.merge(update))

    def merge(self, update: Update) -> Steps[Update]:
        """:meth:`apply` in steps."""
        # The new runs of the clients of which something was known already.
        partly_new: dict[int, list[Run]] = {}
        remaining = RUNS_PER_STEP
        for client, runs in update.runs.items():
            known = self._runs.get(client)
            if known is None:
                known = self._runs[client] = []
            for place, run in enumerate(runs):
                if known and run.clock < known[-1].end:
                    partly_new[client] = [*runs[:place], *(yield from self._fill_gaps(known, runs[place:], client))]
                    break
                self._append(known, run, client)
                remaining -= 1
                if not remaining:
                    yield
                    remaining = RUNS_PER_STEP
        deletions = update.deletions
        if deletions:
            deletions = yield from self._deletions.merge(deletions)
            self.version += 1
        if not partly_new and deletions is update.deletions:
            return update
        new = {client: partly_new.get(client, runs) for client, runs in update.runs.items()}
        return Update({client: runs for client, runs in new.items() if runs}, deletions)

    def merge_at_once(self, update: Update) -> Update | None:
        """:meth:`merge` an update, or return None and change nothing if that may take more than a step or two.

        That is so if its structs do not follow all that is known of their clients, or it deletes many clocks.
        """
        count = 0
        for client, runs in update.runs.items():
            known = self._runs.get(client)
            if known and runs[0].clock < known[-1].end:
                return None
            count += len(runs)
        deletions = update.deletions
        if count > RUNS_PER_STEP or (deletions and deletions.clock_count > RANGES_PER_STEP):
            return None
        for client, runs in update.runs.items():
            known = self._runs.get(client)
            if known is None:
                known = self._runs[client] = []
            for run in runs:
                self._append(known, run, client)
        if not deletions:
            return update
        self.version += 1
        new = run_to_completion(self._deletions.merge(deletions))
        return update if new is deletions else Update(update.runs, new)

    def lacks_any_of(self, update: Update) -> bool:
        """Return whether an update has any struct or deletion that the document lacks."""
        return run_to_completion(self.lacks_any_of_in_steps(update))

    def lacks_any_of_in_steps(self, update: Update) -> Steps[bool]:
        """:meth:`lacks_any_of` in steps."""
        remaining = RUNS_PER_STEP
        for client, runs in update.runs.items():
            known = self._runs.get(client, [])
            for run in runs:
                clock = run.clock
                while clock < run.end:
                    gaps, clock = find_gaps(known, clock, run.end)
                    if gaps:
                        return True
                    remaining -= 1
                    if not remaining:
                        yield
                        remaining = RUNS_PER_STEP
        return not (yield from self._deletions.covers_in_steps(update.deletions))

    def encode_diff(self, state_vector: bytes) -> bytes:
        """Return the update that a client with this state vector lacks.

        A state vector does not cover deletions, so the answer always has all of them.

        :raises Malformed: if the bytes are not a state vector.
        """
        return run_to_completion(self.encode_diff_in_steps(state_vector))

    def encode_diff_in_steps(self, state_vector: bytes) -> Steps[bytes]:
        """:meth:`encode_diff` in steps."""
        clocks = yield from read_state_vector(state_vector, self._runs)
        return (yield from self.diff(clocks))

    def diff(self, clocks: Mapping[int, int]) -> Steps[bytes]:
        """Return the update that a client with these clocks lacks, in steps; see :meth:`encode_diff`."""
        missing: dict[int, Sequence[Run]] = {}
        remaining = RUNS_PER_STEP
        for client in list(self._runs):
            runs, clock = self._runs[client], clocks.get(client, 0)
            if runs and clock < runs[-1].end:
                found = runs[bisect_right(runs, clock, key=lambda run: run.end) :]
                if found[0].clock < clock:
                    found[0] = yield from RunSlicer(found[0], client).slice(clock, found[0].end)
                missing[client] = found
            remaining -= 1
            if not remaining:
                yield
                remaining = RUNS_PER_STEP
        return (yield from encode_update_in_steps(missing, self._deletions))

    def encode(self) -> bytes:
        """Encode the whole document as one update."""
        return encode_update(self._runs, self._deletions)

    def as_update(self) -> Update:
        """Return the whole document as one decoded update; it is not a copy, and changes with the document."""
        return Update(self._runs, self._deletions)

    @property
    def layout(self) -> bytes:
        """The layout of what :meth:`encode` returns, see :mod:`canvas_collab.protocol.layout`."""
        return run_to_completion(self.encode_layout())

    def encode_layout(self) -> Steps[bytes]:
        """:attr:`layout` in steps; the document must not change between them."""
        return encode_layout_in_steps(self._runs)

    def _append(self, runs: list[Run], run: Run, client: int) -> None:
        """Append a run to those of its client."""
        self.version += 1
        self._size += len(run.data)
        self._run_count += 1 - len(runs)
        if run.clock == self._clocks.get(client, 0):
            self._clocks[client] = run.end
        append_run(runs, run)
        self._run_count += len(runs) - 1

    def _fill_gaps(self, known: list[Run], runs: Iterable[Run], client: int) -> Steps[list[Run]]:
        """Insert the parts of a client's runs that are not known; returns these parts."""
        new: list[Run] = []
        parts: list[Run] = []
        remaining = RUNS_PER_STEP
        for run in runs:
            slicer = RunSlicer(run, client)
            clock = run.clock
            while clock < run.end:
                gaps, clock = find_gaps(known, clock, run.end)
                for start, end in gaps:
                    parts.append((yield from slicer.slice(start, end)))
                remaining -= 1 + len(gaps)
                if remaining <= 0:
                    new += yield from self._insert_in_groups(known, parts, client)
                    parts = []
                    yield
                    remaining = RUNS_PER_STEP
        new += yield from self._insert_in_groups(known, parts, client)
        return new

    def _insert_in_groups(self, known: list[Run], parts: Sequence[Run], client: int) -> Steps[list[Run]]:
        """Insert runs, those together that belong close to each other; returns the parts that were not known."""
        new: list[Run] = []
        group: list[Run] = []
        first = 0
        for part in parts:
            place = bisect_right(known, part.clock, key=lambda run: run.clock)
            if group and place - first > MAX_DISTANCE:
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
        """Insert runs; returns the parts of them that were not known.

        Some may be known by now: other updates may have been merged since the gaps were found.
        """
        run_count = len(known)
        new = insert_runs(known, parts, client)
        if new:
            self.version += 1
            self._size += sum(len(part.data) for part in new)
            self._run_count += len(known) - run_count
            if clock := contiguous_end(known, self._clocks.get(client, 0)):
                self._clocks[client] = clock
        return new


def merge_updates(updates: Sequence[Update]) -> bytes:
    """Merge updates to one, and encode it."""
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
                # Rare: updates that arrived out of order, or more than once.
                return Document(updates).encode()
        deletions.update(update.deletions)
    return encode_update(merged, deletions)
