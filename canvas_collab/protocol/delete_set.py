"""Delete sets: which clocks of which client have been deleted.

The format is that of Yjs: a count of clients, then for each its id, a count of ranges, and each range as its first
clock and its length.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from canvas_collab.protocol.lib0 import Malformed, TooLarge, encode_var_uint, read_var_uint
from canvas_collab.protocol.ranges import Ranges
from canvas_collab.protocol.steps import RANGES_PER_STEP, Steps, descending, run_to_completion
from canvas_collab.protocol.structs import MAX_CLOCK

#: What a client takes in memory, and each of its ranges, in bytes.
CLIENT_WEIGHT = 512
RANGE_WEIGHT = 16

#: To begin with a client takes as long as so many ranges.
_RANGES_PER_CLIENT = 5

_NO_RANGES = Ranges()


class DeleteSet:
    """Ranges of clocks per client, in order, without overlap, neighbours joined."""

    __slots__ = ("_count", "_ranges")

    def __init__(self) -> None:
        self._ranges: dict[int, Ranges] = {}
        # How many ranges there are, of all clients.
        self._count = 0

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DeleteSet) and self._ranges == other._ranges

    __hash__ = None  # type: ignore[assignment]

    @property
    def weight(self) -> int:
        """About how many bytes it takes in memory."""
        return len(self._ranges) * CLIENT_WEIGHT + self._count * RANGE_WEIGHT

    def items(self) -> Iterable[tuple[int, Ranges]]:
        """Every client's ranges."""
        return self._ranges.items()

    def ranges(self, client: int) -> Ranges:
        """One client's ranges, in order."""
        return self._ranges.get(client, _NO_RANGES)

    def has(self, client: int, clock: int) -> bool:
        """Whether a clock is deleted."""
        return self.ranges(client).covers(clock, clock + 1)

    def add(self, client: int, start: int, end: int) -> None:
        """The client's clocks from `start` up to, not including, `end` are deleted."""
        ranges = self._ranges.get(client)
        if ranges is None:
            ranges = self._ranges[client] = Ranges()
        before = len(ranges)
        ranges.add(start, end)
        self._count += len(ranges) - before

    def update(self, other: DeleteSet) -> None:
        """Everything in `other` is deleted too."""
        for client, ranges in other.items():
            for start, end in ranges:
                self.add(client, start, end)

    def absorb(self, other: DeleteSet) -> Steps[DeleteSet]:
        """The same in steps; returns what of `other` was not in this one, which is `other` itself if nothing was.

        This one may change between the steps, and is whole after each.
        """
        news = DeleteSet()
        is_all_news = True
        left = RANGES_PER_STEP
        for client, ranges in other.items():
            known = self._ranges.get(client)
            if known is None:
                known = self._ranges[client] = Ranges()
            for start, end in ranges:
                clock = start
                while clock < end:
                    gaps, reached = known.gaps(clock, end, left)
                    is_all_news = is_all_news and gaps == [(start, end)]
                    if gaps:
                        before = len(known)
                        known.add(clock, reached)
                        self._count += len(known) - before
                    for gap_start, gap_end in gaps:
                        news.add(client, gap_start, gap_end)
                    clock = reached
                    left -= 1 + len(gaps)
                    if left <= 0:
                        yield
                        left = RANGES_PER_STEP
        return other if is_all_news else news

    def difference(self, other: DeleteSet) -> DeleteSet:
        """What is in this one and not in the other."""
        rest = DeleteSet()
        for client, ranges in self.items():
            theirs = other.ranges(client)
            for start, end in ranges:
                for gap_start, gap_end in theirs.gaps(start, end, len(theirs) + 1)[0]:
                    rest.add(client, gap_start, gap_end)
        return rest

    def intersection(self, other: DeleteSet) -> DeleteSet:
        """What is in this one and in the other."""
        common = DeleteSet()
        for client, ranges in self.items():
            theirs = other.ranges(client)
            for start, end in ranges:
                for known_start, known_end in theirs.overlapping(start, end):
                    common.add(client, max(start, known_start), min(end, known_end))
        return common

    def lacks_any(self, other: DeleteSet) -> Steps[bool]:
        """Whether anything in `other` is not in this one."""
        left = RANGES_PER_STEP
        for client, ranges in other.items():
            known = self.ranges(client)
            for start, end in ranges:
                if not known.covers(start, end):
                    return True
                left -= 1
                if not left:
                    yield
                    left = RANGES_PER_STEP
        return False

    def covers(self, other: DeleteSet) -> bool:
        """Whether everything in `other` is in this one."""
        return not run_to_completion(self.lacks_any(other))

    def encode(self) -> bytes:
        """The delete set as bytes, higher client ids first, as Yjs orders them."""
        return run_to_completion(self.encode_in_steps())

    def encode_in_steps(self) -> Steps[bytes]:
        """The same in steps."""
        clients = yield from descending(self._ranges)
        encoded = bytearray(encode_var_uint(len(clients)))
        for index, client in enumerate(clients):
            count, ranges = yield from self._ranges[client].encode()
            encoded += encode_var_uint(client) + encode_var_uint(count) + ranges
            if index % RANGES_PER_STEP == RANGES_PER_STEP - 1:
                yield
        return bytes(encoded)

    @classmethod
    def decode(cls, data: bytes, position: int = 0) -> DeleteSet:
        """Decode the delete set at a position; bytes after its end are ignored, as Yjs ignores them.

        :raises Malformed: if there is none.
        """
        return run_to_completion(read_delete_set(data, position, None))[0]


def read_delete_set(data: bytes, position: int, max_weight: int | None) -> Steps[tuple[DeleteSet, int, bool]]:
    """Decode the delete set at a position.

    :param max_weight: what it may take in memory, in bytes.
    :return: the delete set, where it ends, and whether it is written as :meth:`DeleteSet.encode` would, but for
        the order of clients: ranges in order, without overlap, neighbours joined. Clients that get two ranges of clocks
        to come that overlap do not agree afterwards on what is deleted.
    :raises Malformed: if there is none.
    :raises TooLarge: if it would take more.
    """
    result = DeleteSet()
    in_order = True
    limit = math.inf if max_weight is None else max_weight
    left = RANGES_PER_STEP
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
        left -= _RANGES_PER_CLIENT
        for _ in range(count):
            start, position = read_var_uint(data, position)
            length, position = read_var_uint(data, position)
            end = start + length
            if not length or end > MAX_CLOCK:
                # Yjs breaks on an empty range that it has to keep until the structs come.
                raise Malformed("a deleted range is empty, or ends at too high a clock")
            in_order &= ranges.add(start, end)
            left -= 1
            if left <= 0:
                result._count = others + len(ranges)
                if result.weight > limit:
                    break
                yield
                left = RANGES_PER_STEP
        result._count = others + len(ranges)
        if result.weight > limit:
            raise TooLarge("the update has too many deleted ranges, or of too many authors")
        if left <= 0:
            yield
            left = RANGES_PER_STEP
    return result, position, in_order
