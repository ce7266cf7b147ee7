"""Delete sets: for each client, the ranges of clocks that are deleted.

The format is that of Yjs: a count of clients, then for each its id, a count of ranges, and each range as its first
clock and its length.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from canvas_collab.protocol.lib0 import Malformed, TooLarge, encode_var_uint, read_var_uint
from canvas_collab.protocol.ranges import Ranges
from canvas_collab.protocol.steps import RANGES_PER_STEP, Steps, run_to_completion, sort_descending
from canvas_collab.protocol.structs import MAX_CLOCK

#: The estimated memory that a client takes, and each of its ranges, in bytes.
CLIENT_WEIGHT = 512
RANGE_WEIGHT = 16

#: Reading a client takes as long as reading this many ranges.
_RANGES_PER_CLIENT = 5

_NO_RANGES = Ranges()


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

    @property
    def weight(self) -> int:
        """The estimated memory that it takes, in bytes."""
        return len(self._ranges) * CLIENT_WEIGHT + self._count * RANGE_WEIGHT

    @property
    def range_count(self) -> int:
        """The number of ranges of all clients."""
        return self._count

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
    :return: the delete set, the position after it, and whether it is encoded as :meth:`DeleteSet.encode` does it, apart
        from the order of clients: ranges in order, without overlap, adjacent ones joined.  Only such may be sent on
        unchanged: clients that receive overlapping ranges of clocks they do not have yet disagree on what is deleted.
    :raises Malformed: if there is none.
    :raises TooLarge: if it would take more memory.
    """
    result = DeleteSet()
    in_order = True
    limit = math.inf if max_weight is None else max_weight
    remaining = RANGES_PER_STEP
    clients, position = read_var_uint(data, position)
    for _ in range(clients):
        client, position = read_var_uint(data, position)
        count, position = read_var_uint(data, position)
        ranges = result.ranges(client)
        if not ranges and count:
            ranges = result._ranges[client] = Ranges()
        else:
            in_order = False
        others = result._count - len(ranges)
        remaining -= _RANGES_PER_CLIENT
        for _ in range(count):
            start, position = read_var_uint(data, position)
            length, position = read_var_uint(data, position)
            end = start + length
            if not length or end > MAX_CLOCK:
                # Yjs fails on an empty range that it has to keep until the structs arrive.
                raise Malformed("a deleted range is empty, or ends at too high a clock")
            in_order &= ranges.add(start, end)
            remaining -= 1
            if remaining <= 0:
                result._count = others + len(ranges)
                if result.weight > limit:
                    break
                yield
                remaining = RANGES_PER_STEP
        result._count = others + len(ranges)
        if result.weight > limit:
            raise TooLarge("the update has too many deleted ranges or clients")
        if remaining <= 0:
            yield
            remaining = RANGES_PER_STEP
    return result, position, in_order
