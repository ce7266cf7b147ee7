"""Delete sets: which clocks of which client have been deleted.

The format is that of Yjs: a count of clients, then for each its id, a count of ranges, and each range as its first
clock and its length.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

from canvas_collab.protocol.lib0 import Malformed, encode_var_uint, read_var_uint
from canvas_collab.protocol.structs import MAX_CLOCK

#: The first clock of a range, and the one after its last.
Range = tuple[int, int]


class DeleteSet:
    """Ranges of clocks per client, in order, without overlap, neighbours joined."""

    __slots__ = ("_encoded", "_ranges")

    def __init__(self) -> None:
        self._ranges: dict[int, list[Range]] = {}
        # The encoding of each client's part, as long as that does not change.
        self._encoded: dict[int, bytes] = {}

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DeleteSet) and self._ranges == other._ranges

    __hash__ = None  # type: ignore[assignment]

    def items(self) -> Iterable[tuple[int, list[Range]]]:
        """Every client's ranges."""
        return self._ranges.items()

    def add(self, client: int, start: int, end: int) -> None:
        """The client's clocks from `start` up to, not including, `end` are deleted."""
        ranges = self._ranges.setdefault(client, [])
        if not ranges or start > ranges[-1][1]:
            ranges.append((start, end))
        else:
            # All ranges that touch the new one, from `first` up to `last`, become one with it.
            first = bisect_left(ranges, start, key=lambda known: known[1])
            last = bisect_right(ranges, end, key=lambda known: known[0])
            if first < last:
                start, end = min(start, ranges[first][0]), max(end, ranges[last - 1][1])
                if ranges[first:last] == [(start, end)]:
                    return
            ranges[first:last] = [(start, end)]
        self._encoded.pop(client, None)

    def update(self, other: DeleteSet) -> None:
        """Everything in `other` is deleted too."""
        for client, ranges in other.items():
            for start, end in ranges:
                self.add(client, start, end)

    def ranges(self, client: int) -> Sequence[Range]:
        """One client's ranges, in order."""
        return self._ranges.get(client, ())

    def has(self, client: int, clock: int) -> bool:
        """Whether a clock is deleted."""
        return self._covers(client, clock, clock + 1)

    def difference(self, other: DeleteSet) -> DeleteSet:
        """What is in this one and not in the other."""
        rest = DeleteSet()
        for client, ranges in self.items():
            theirs = other.ranges(client)
            for start, end in ranges:
                index = max(bisect_right(theirs, start, key=lambda known: known[0]) - 1, 0)
                while index < len(theirs) and theirs[index][0] < end:
                    if start < theirs[index][0]:
                        rest.add(client, start, theirs[index][0])
                    start = max(start, theirs[index][1])
                    index += 1
                if start < end:
                    rest.add(client, start, end)
        return rest

    def intersection(self, other: DeleteSet) -> DeleteSet:
        """What is in this one and in the other."""
        common = DeleteSet()
        for client, ranges in self.items():
            theirs = other.ranges(client)
            for start, end in ranges:
                index = max(bisect_right(theirs, start, key=lambda known: known[0]) - 1, 0)
                while index < len(theirs) and theirs[index][0] < end:
                    first, last = max(start, theirs[index][0]), min(end, theirs[index][1])
                    if first < last:
                        common.add(client, first, last)
                    index += 1
        return common

    def covers(self, other: DeleteSet) -> bool:
        """Whether everything in `other` is in this one."""
        return all(self._covers(client, start, end) for client, ranges in other.items() for start, end in ranges)

    def encode(self) -> bytes:
        """The delete set as bytes, higher client ids first, as Yjs orders them."""
        parts = [encode_var_uint(len(self._ranges))]
        for client in sorted(self._ranges, reverse=True):
            if client not in self._encoded:
                self._encoded[client] = _encode_ranges(client, self._ranges[client])
            parts.append(self._encoded[client])
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes, position: int = 0) -> DeleteSet:
        """Decode the delete set at a position; bytes after its end are ignored, as Yjs ignores them.

        :raises Malformed: if there is none.
        """
        deletions = cls()
        clients, position = read_var_uint(data, position)
        for _ in range(clients):
            client, position = read_var_uint(data, position)
            count, position = read_var_uint(data, position)
            for _ in range(count):
                start, position = read_var_uint(data, position)
                length, position = read_var_uint(data, position)
                end = start + length
                if not length or end > MAX_CLOCK:
                    # Yjs breaks on an empty range that it has to keep until the structs come.
                    raise Malformed("a deleted range is empty, or ends at too high a clock")
                deletions.add(client, start, end)
        return deletions

    def _covers(self, client: int, start: int, end: int) -> bool:
        ranges = self.ranges(client)
        index = bisect_right(ranges, start, key=lambda known: known[0]) - 1
        return index >= 0 and ranges[index][1] >= end


def _encode_ranges(client: int, ranges: list[Range]) -> bytes:
    parts = [encode_var_uint(client), encode_var_uint(len(ranges))]
    for start, end in ranges:
        parts.append(encode_var_uint(start))
        parts.append(encode_var_uint(end - start))
    return b"".join(parts)
