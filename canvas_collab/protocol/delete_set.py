"""Delete sets: for each client, the ranges of clocks that are deleted.

The format is that of Yjs: a count of clients, then for each its id, a count of ranges, and each range as its first
clock and its length.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, final

from canvas_collab.protocol.lib0 import Malformed, TooLarge, encode_var_uint, read_var_uint
from canvas_collab.protocol.ranges import Ranges
from canvas_collab.protocol.steps import RANGES_PER_STEP, Steps, run_to_completion, sort_descending
from canvas_collab.protocol.structs import MAX_CLOCK

if TYPE_CHECKING:
    from mypy_extensions import i64

#: The estimated memory that a client takes, and each of its ranges, in bytes.
CLIENT_WEIGHT: Final = 512
RANGE_WEIGHT: Final = 16

#: Reading a client takes as long as reading this many ranges.
_RANGES_PER_CLIENT: Final = 5

_UNLIMITED: Final = 2**60

_NO_RANGES = Ranges()


@final
class DeleteSet:
    """Ranges of clocks for each client: in order, without overlap, adjacent ranges joined."""

    __slots__ = ("_count", "_ranges")

    def __init__(self) -> None:
        self._ranges: dict[int, Ranges] = {}
        # The number of ranges of all clients.
        self._count = 0

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DeleteSet) and self._ranges == other._ranges

    __hash__ = None  # type: ignore[assignment]

    def begin_client(self, client: int, has_ranges: bool) -> tuple[Ranges, bool]:
        """Return the ranges of a client to add to, and whether there were none; for :class:`DeleteSetReader`."""
        ranges = self._ranges.get(client)
        if ranges is None and has_ranges:
            ranges = self._ranges[client] = Ranges()
            return ranges, True
        return _NO_RANGES if ranges is None else ranges, False

    def count_ranges(self, added: int) -> None:
        """Count ranges that were added to those of :meth:`begin_client`."""
        self._count += added

    @property
    def weight(self) -> int:
        """The estimated memory that it takes, in bytes."""
        return len(self._ranges) * CLIENT_WEIGHT + self._count * RANGE_WEIGHT

    @property
    def clock_count(self) -> int:
        """How many clocks are deleted; takes time in proportion to the number of ranges."""
        return sum(end - start for ranges in self._ranges.values() for start, end in ranges)

    def items(self) -> Iterable[tuple[int, Ranges]]:
        """Return all clients with their ranges."""
        return self._ranges.items()

    def ranges(self, client: int) -> Ranges:
        """Return one client's ranges, in order."""
        return self._ranges.get(client, _NO_RANGES)

    def contains(self, client: int, clock: int) -> bool:
        """Return whether a clock of a client is deleted."""
        return self.ranges(client).covers(clock, clock + 1)

    def add(self, client: int, start: int, end: int) -> None:
        """Add the client's clocks from `start` up to, not including, `end`."""
        ranges = self._ranges.get(client)
        if ranges is None:
            ranges = self._ranges[client] = Ranges()
        before = len(ranges)
        ranges.add(start, end)
        self._count += len(ranges) - before

    def update(self, other: DeleteSet) -> None:
        """Add everything in `other`."""
        for client, ranges in other.items():
            for start, end in ranges:
                self.add(client, start, end)

    def merge(self, other: DeleteSet) -> Steps[DeleteSet]:
        """Add everything in `other`, in steps, and return what of it was new; `other` itself if all of it was.

        The delete set is consistent after each step, and may be changed by others between the steps.
        """
        new_part = DeleteSet()
        is_all_new = True
        remaining = RANGES_PER_STEP
        for client, ranges in other.items():
            known = self._ranges.get(client)
            if known is None:
                known = self._ranges[client] = Ranges()
            for start, end in ranges:
                clock = start
                while clock < end:
                    gaps, reached = known.gaps(clock, end, remaining)
                    is_all_new = is_all_new and gaps == [(start, end)]
                    if gaps:
                        before = len(known)
                        known.add(clock, reached)
                        self._count += len(known) - before
                    for gap_start, gap_end in gaps:
                        new_part.add(client, gap_start, gap_end)
                    clock = reached
                    remaining -= 1 + len(gaps)
                    if remaining <= 0:
                        yield
                        remaining = RANGES_PER_STEP
        return other if is_all_new else new_part

    def difference(self, other: DeleteSet) -> DeleteSet:
        """Return what is in this delete set and not in `other`."""
        rest = DeleteSet()
        for client, ranges in self.items():
            theirs = other.ranges(client)
            for start, end in ranges:
                for gap_start, gap_end in theirs.gaps(start, end, len(theirs) + 1)[0]:
                    rest.add(client, gap_start, gap_end)
        return rest

    def intersection(self, other: DeleteSet) -> DeleteSet:
        """Return what is in this delete set and in `other`."""
        common = DeleteSet()
        for client, ranges in self.items():
            theirs = other.ranges(client)
            for start, end in ranges:
                for known_start, known_end in theirs.overlapping(start, end):
                    common.add(client, max(start, known_start), min(end, known_end))
        return common

    def covers(self, other: DeleteSet) -> bool:
        """Return whether everything in `other` is in this delete set."""
        return run_to_completion(self.covers_in_steps(other))

    def covers_in_steps(self, other: DeleteSet) -> Steps[bool]:
        """:meth:`covers` in steps."""
        remaining = RANGES_PER_STEP
        for client, ranges in other.items():
            known = self.ranges(client)
            for start, end in ranges:
                if not known.covers(start, end):
                    return False
                remaining -= 1
                if not remaining:
                    yield
                    remaining = RANGES_PER_STEP
        return True

    def encode(self) -> bytes:
        """Encode the delete set, higher client ids first, as Yjs orders them."""
        return run_to_completion(self.encode_in_steps())

    def encode_in_steps(self) -> Steps[bytes]:
        """:meth:`encode` in steps."""
        clients = yield from sort_descending(self._ranges)
        encoded = bytearray(encode_var_uint(len(clients)))
        for index, client in enumerate(clients):
            count, ranges = yield from self._ranges[client].encode()
            encoded += encode_var_uint(client) + encode_var_uint(count) + ranges
            if index % RANGES_PER_STEP == RANGES_PER_STEP - 1:
                yield
        return bytes(encoded)

    @classmethod
    def decode(cls, data: bytes, position: int = 0) -> DeleteSet:
        """Decode the delete set at a position.  Bytes after its end are ignored, as Yjs ignores them.

        :raises Malformed: if there is none.
        """
        return run_to_completion(read_delete_set(data, position, None))[0]


def read_delete_set(data: bytes, position: int, max_weight: int | None) -> Steps[tuple[DeleteSet, int, bool]]:
    """Decode the delete set at a position, in steps.

    :param max_weight: the memory that it may take, in bytes; None for no limit.
    :return: the delete set, the position after it, and :attr:`DeleteSetReader.in_order`.
    :raises Malformed: if there is none.
    :raises TooLarge: if it would take more memory.
    """
    reader = DeleteSetReader(data, position, _UNLIMITED if max_weight is None else max_weight)
    while not reader.read_step():
        yield
    return reader.result, reader.position, reader.in_order


@final
class DeleteSetReader:
    """Decodes a delete set, a step at a time."""

    __slots__ = ("_clients", "_data", "_left", "_limit", "_ranges", "in_order", "position", "result")

    def __init__(self, data: bytes, position: i64, limit: i64) -> None:
        """:param limit: the memory that the delete set may take, in bytes.
        :raises Malformed: if no delete set begins at `position`.
        """
        clients, position = read_var_uint(data, position)
        self._data: bytes = data
        self._limit: i64 = limit
        # The clients that were not begun, the ranges of the present one that are left, and those that were read.
        self._clients: i64 = clients
        self._left: i64 = 0
        self._ranges: Ranges = _NO_RANGES
        #: The position of what follows.
        self.position: i64 = position
        #: What was read; complete after the last step.
        self.result = DeleteSet()
        #: Whether it is encoded as :meth:`DeleteSet.encode` does it, apart from the order of clients: ranges in order,
        #: without overlap, adjacent ones joined.  Only such may be sent on unchanged: clients that receive overlapping
        #: ranges of clocks they do not have yet disagree on what is deleted.
        self.in_order = True

    def read_step(self) -> bool:
        """Read the ranges of one step, and return whether these were the last.

        :raises Malformed: if the bytes are not a delete set.
        :raises TooLarge: if it takes more memory than allowed.
        """
        if not self._clients and not self._left:
            return True
        data, result, position = self._data, self.result, self.position
        remaining: i64 = RANGES_PER_STEP
        while remaining > 0:
            if not self._left:
                if not self._clients:
                    break
                self._clients -= 1
                client, position = read_var_uint(data, position)
                self._left, position = read_var_uint(data, position)
                self._ranges, is_new = result.begin_client(client, self._left > 0)
                self.in_order = self.in_order and is_new
                remaining -= _RANGES_PER_CLIENT
            ranges = self._ranges
            count: i64 = len(ranges)
            while self._left and remaining > 0:
                start, position = read_var_uint(data, position)
                length, position = read_var_uint(data, position)
                end: i64 = start + length
                if not length or end > MAX_CLOCK:
                    # Yjs fails on an empty range that it has to keep until the structs arrive.
                    raise Malformed("a deleted range is empty, or ends at too high a clock")
                if not ranges.add(start, end):
                    self.in_order = False
                self._left -= 1
                remaining -= 1
            result.count_ranges(len(ranges) - count)
            if result.weight > self._limit:
                raise TooLarge("the update has too many deleted ranges or clients")
        self.position = position
        return not self._clients and not self._left
