"""A large answer to a sync step 1, which a slow line carries in parts.

The parts are update messages.  The sync step 2 comes last, so that no client takes itself for synced before it has
everything.  Updates of others are held back meanwhile: they may depend on what the client was not sent yet, and Yjs
would keep them as pending.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from canvas_collab.counters import Counters
from canvas_collab.document.document import Document
from canvas_collab.document.parts import RANGE_SIZE, Parts, split_deletions
from canvas_collab.protocol import sync
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.steps import RUNS_PER_STEP, Steps
from canvas_collab.protocol.structs import Run
from canvas_collab.protocol.update import EMPTY_UPDATE, encode_update_in_steps
from canvas_collab.rooms.channel import Messages
from canvas_collab.rooms.full_sync import SharedParts
from canvas_collab.rooms.prepared_message import PreparedMessage

#: An answer of at most so many parts is sent as one message.
PARTS_AT_ONCE = 4

#: After the first part, the rest is sent at once if the line carries it in so many seconds.
REST_TIME = 2.0


class PartSource(Protocol):
    """What a client is sent in parts."""

    @property
    def clocks(self) -> Mapping[int, int]:
        """The state vector of a client that has all parts."""

    def part(self, index: int) -> Steps[bytes | None]:
        """Return a part, as an encoded update; None if there are not as many."""


class DownloadedRoom(Protocol):
    """What a download needs of its room."""

    document: Document
    part_size: int
    counters: Counters


class OwnParts:
    """What one client lacks, in parts; each can be had once, in order."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @property
    def clocks(self) -> Mapping[int, int]:
        """The state vector of a client that has the parts so far."""
        return self._parts.clocks

    def part(self, index: int) -> Steps[bytes | None]:
        """Return the next part, as an encoded update, in steps; None if there is none."""
        part = yield from self._parts.next()
        return None if part is None else (yield from encode_update_in_steps(part.runs, part.deletions))


def size_of(missing: Mapping[int, Sequence[Run]]) -> Steps[int]:
    """Return the size of runs in bytes, in steps."""
    size = 0
    remaining = 10 * RUNS_PER_STEP
    for runs in missing.values():
        size += sum(len(run.data) for run in runs)
        remaining -= len(runs) + 1
        if remaining <= 0:
            yield
            remaining = 10 * RUNS_PER_STEP
    return size


class Download:
    """The answer of one connection to one or more sync steps 1, in parts."""

    def __init__(
        self,
        room: DownloadedRoom,
        source: PartSource,
        clocks: Mapping[int, int],
        size: int,
        live: Callable[[], None],
        ended: Callable[[], None],
    ) -> None:
        """:param clocks: the client's state vector.
        :param size: of what it lacks, in bytes.
        :param live: called when updates of others need not be held back any more.
        :param ended: called when all has been sent.
        """
        #: How many bytes the client receives in a second; None if that is not known yet.
        self.rate: float | None = None
        #: Whether the client has left.
        self.is_cancelled = False
        #: For each sync step 1, what is to be done after its answer.
        self.answers: list[list[Callable[[], Steps[None]]]] = [[]]
        self._room = room
        self._source = source
        self._clocks = clocks
        self._size = size
        self._live = live
        self._ended = ended

    def add_answer(self, clocks: Mapping[int, int]) -> bool:
        """Answer another sync step 1 as well; return False if its client lacks more than is being sent."""
        if any(clock > clocks.get(client, 0) for client, clock in self._clocks.items()):
            return False
        self.answers.append([])
        return True

    def when_answered(self, act: Callable[[], Steps[None]]) -> None:
        """Run steps after the answer to the last sync step 1."""
        self.answers[-1].append(act)

    def messages(self) -> Messages:
        """Iterate over the messages; None ends a step of their preparation."""
        part = yield from self._source.part(0)
        if part is not None:
            yield PreparedMessage(sync.encode_update(part))
        if self.is_cancelled:
            return
        if part is not None and self.rate is not None and self._size - len(part) <= self.rate * REST_TIME:
            yield from self._rest()
        else:
            self._room.counters.syncs_in_parts += 1
            yield from self._other_parts(1 if part is not None else 0)
            if not self.is_cancelled:
                yield from self._closing()
        while not self.is_cancelled:
            for act in self.answers.pop(0):
                yield from act()
            if not self.answers:
                self._ended()
                return
            yield PreparedMessage(sync.encode_step_2(EMPTY_UPDATE))

    def _rest(self) -> Messages:
        """Send everything after the first part at once."""
        self._live()
        source = self._source
        if isinstance(source, SharedParts) and source.rest is not None:
            yield from (yield from source.rest.messages())
        else:
            yield PreparedMessage(sync.encode_step_2((yield from self._room.document.diff(source.clocks))))

    def _other_parts(self, index: int) -> Messages:
        """Send all parts but the first, and then what is new since they were made, if that is much, in parts too."""
        document, size = self._room.document, self._room.part_size
        while index:
            while not self.is_cancelled and (part := (yield from self._source.part(index))) is not None:
                yield PreparedMessage(sync.encode_update(part))
                index += 1
            if self.is_cancelled:
                return
            clocks = self._source.clocks
            missing = yield from document.missing(clocks)
            if (yield from size_of(missing)) <= PARTS_AT_ONCE * size:
                return
            self._source = OwnParts(Parts(missing, clocks, document.deletions, size))
            part = yield from self._source.part(0)
            if part is None:
                # Everything left depends on something that is missing from the document.
                return
            yield PreparedMessage(sync.encode_update(part))
            index = 1

    def _closing(self) -> Messages:
        """Send what is left and all deletions; the last message is a sync step 2."""
        self._live()
        document, size = self._room.document, self._room.part_size
        missing: Mapping[int, Sequence[Run]] = yield from document.missing(self._source.clocks)
        deletions = document.deletions
        if deletions.range_count * RANGE_SIZE > PARTS_AT_ONCE * size:
            yield PreparedMessage(sync.encode_update((yield from encode_update_in_steps(missing, DeleteSet()))))
            missing = {}
            *others, deletions = split_deletions(deletions, size)
            for part in others:
                yield PreparedMessage(sync.encode_update((yield from encode_update_in_steps({}, part))))
        yield PreparedMessage(sync.encode_step_2((yield from encode_update_in_steps(missing, deletions))))
