"""The lossless state of one Yjs document: the structs and deletions of all its updates, merged but never integrated.

Integrating an update means to work out where its structs end up in the document, and engines differ in what they keep
of what they do not expect: gaps, characters cut in half, values that only JavaScript has.  Here every struct stays the
bytes it came in.  What is kept beside them is which clocks of which client they are, and that answers all that a
server is asked: what is known, whether an update brings anything new, what a client lacks.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence

from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.layout import encode_layout
from canvas_collab.protocol.state_vector import decode_state_vector, encode_state_vector
from canvas_collab.protocol.structs import RUN_SIZE, Run, cut_run, join_runs
from canvas_collab.protocol.update import Update, decode_update, encode_update

#: A run is joined with the one before it unless that is at least this many times larger, so that every byte is copied
#: a bounded number of times, and the latest edits lie in small runs.
SIZE_RATIO = 4


class Document:
    """Everything that is known of one document.  Updates go in and are never lost; differences come out."""

    __slots__ = ("_deletions", "_runs", "_size", "version")

    def __init__(self, updates: Iterable[Update] = ()) -> None:
        """Start from what is stored."""
        # For each client, runs in order and without overlap; where one ends the next begins, or there is a gap.
        self._runs: dict[int, list[Run]] = {}
        self._deletions = DeleteSet()
        self._size = 0
        #: How often something has come in.
        self.version = 0
        for update in updates:
            self.apply(update)

    @property
    def size(self) -> int:
        """How many bytes the structs take."""
        return self._size

    @property
    def state_vector(self) -> bytes:
        """The document's state vector, encoded: for every client, up to which clock everything is there."""
        return encode_state_vector({client: clock for client, clock in self.clocks.items() if clock})

    @property
    def clocks(self) -> dict[int, int]:
        """For every client, up to which clock everything is there."""
        clocks = {}
        for client, runs in self._runs.items():
            clock = 0
            for run in runs:
                if run.clock > clock:
                    break
                clock = run.end
            clocks[client] = clock
        return clocks

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
        self.version += 1
        news: dict[int, list[Run]] = {}
        for client, runs in update.runs.items():
            known = self._runs.setdefault(client, [])
            if not known or runs[0].clock >= known[-1].end:
                for run in runs:
                    self._append(known, run)
            else:
                news[client] = self._fill(known, runs, client)
        deletions = update.deletions
        if deletions:
            deletions = deletions.difference(self._deletions)
            self._deletions.update(deletions)
        if not news and (deletions is update.deletions or deletions == update.deletions):
            return update
        taken = {client: news.get(client, runs) for client, runs in update.runs.items()}
        return Update({client: runs for client, runs in taken.items() if runs}, deletions)

    def adds(self, update: Update) -> bool:
        """Whether an update would bring any struct or deletion that is not known."""
        for client, runs in update.runs.items():
            known = self._runs.get(client, [])
            if any(next(_unknown(known, run), None) for run in runs):
                return True
        return not self._deletions.covers(update.deletions)

    def lacking(self, state_vector: bytes) -> bytes:
        """The update that someone with `state_vector` lacks.

        A state vector says nothing of deletions, so all of them are always part of the answer.

        :raises Malformed: if the bytes are not a state vector.
        """
        return self.beyond(decode_state_vector(state_vector))

    def beyond(self, clocks: Mapping[int, int]) -> bytes:
        """The same, for someone who has everything up to these clocks."""
        missing: dict[int, list[Run]] = {}
        for client, runs in self._runs.items():
            clock = clocks.get(client, 0)
            if clock < runs[-1].end:
                missing[client] = list(_beyond(runs, clock, client))
        return encode_update(missing, self._deletions)

    def encode(self) -> bytes:
        """The whole document as one update."""
        return encode_update(self._runs, self._deletions)

    def as_update(self) -> Update:
        """The whole document as one update, not encoded; it changes with the document."""
        return Update(self._runs, self._deletions)

    @property
    def deletions(self) -> DeleteSet:
        """What is deleted."""
        return self._deletions

    @property
    def layout(self) -> bytes:
        """Where in :meth:`encode`'s answer the runs lie, for :func:`~canvas_collab.protocol.layout.decode_laid_out`."""
        return encode_layout(self._runs)

    def _append(self, runs: list[Run], run: Run) -> None:
        """Put a run behind all others, and join it with the last ones if they are not much larger."""
        self._size += len(run.data)
        while runs and _joins(runs[-1], run):
            run = join_runs(runs.pop(), run)
        runs.append(run)

    def _fill(self, known: list[Run], runs: Iterable[Run], client: int) -> list[Run]:
        """Put what is not known of a client's runs where it belongs; returns that."""
        new = []
        for run in runs:
            for start, end in list(_unknown(known, run)):
                place = bisect_right(known, start, key=lambda other: other.clock)
                part = cut_run(run, start, end, client)
                self._insert(known, place, part)
                new.append(part)
        return new

    def _insert(self, runs: list[Run], place: int, run: Run) -> None:
        """Put a run in its place, and join it with its neighbours if they are not much larger."""
        self._size += len(run.data)
        runs.insert(place, run)
        if place + 1 < len(runs):
            self._join(runs, place)
        while place and self._join(runs, place - 1):
            place -= 1

    @staticmethod
    def _join(runs: list[Run], place: int) -> bool:
        """Join the run at `place` with the next, if that is worth it; returns whether it was."""
        first, second = runs[place], runs[place + 1]
        if _joins(first, second):
            runs[place : place + 2] = [join_runs(first, second)]
            return True
        return False


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


def _joins(first: Run, second: Run) -> bool:
    """Whether two runs touch, are of like sizes, and are small together."""
    size = len(second.data)
    return first.end == second.clock and len(first.data) < SIZE_RATIO * size and len(first.data) + size <= RUN_SIZE


def _unknown(known: list[Run], run: Run) -> Iterator[tuple[int, int]]:
    """The stretches of a run that no known run covers, as pairs of a first clock and the one after the last."""
    clock = run.clock
    index = max(bisect_right(known, clock, key=lambda other: other.clock) - 1, 0)
    for other in known[index:]:
        if other.clock >= run.end:
            break
        if other.clock > clock:
            yield clock, other.clock
        clock = max(clock, other.end)
    if clock < run.end:
        yield clock, run.end


def _beyond(runs: list[Run], clock: int, client: int) -> Iterator[Run]:
    """What of a client's runs lies beyond a clock."""
    first = bisect_right(runs, clock, key=lambda run: run.end)
    for run in runs[first:]:
        yield cut_run(run, clock, run.end, client) if run.clock < clock else run
