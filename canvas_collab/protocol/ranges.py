"""Sets of clocks of one client, stored as ranges."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import final

from canvas_collab.protocol.lib0 import encode_var_uint
from canvas_collab.protocol.steps import Steps

#: The first clock of a range, and the clock after its last.
Range = tuple[int, int]

#: Ranges are stored in blocks of this many up to twice as many, so that adding a range moves no more than a block.
BLOCK_SIZE = 512


@final
class _Block:
    """Consecutive ranges; `encoded` caches their encoding, and is None after a change."""

    __slots__ = ("encoded", "ends", "starts")

    def __init__(self, starts: array[int], ends: array[int]) -> None:
        self.starts = starts
        self.ends = ends
        self.encoded: bytes | None = None

    def encode(self) -> bytes:
        if self.encoded is None:
            parts = []
            for start, end in zip(self.starts, self.ends, strict=True):
                parts.append(encode_var_uint(start))
                parts.append(encode_var_uint(end - start))
            self.encoded = b"".join(parts)
        return self.encoded


def _clocks(clocks: Iterable[int] = ()) -> array[int]:
    # Clocks have at most 32 bits.
    return array("I", clocks)


@final
class Ranges:
    """Ranges in order, without overlap, adjacent ranges joined; each takes eight bytes."""

    __slots__ = ("_blocks", "_count", "_firsts")

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self._blocks: list[_Block] = []
        # The first clock of each block.
        self._firsts: list[int] = []
        self._count = 0
        for start, end in ranges:
            self.add(start, end)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Range]:
        for block in self._blocks:
            yield from zip(block.starts, block.ends, strict=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ranges) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def add(self, start: int, end: int) -> bool:
        """Add the clocks from `start` up to, not including, `end`.

        Returns whether the range is after all others and not adjacent to the last, as when ranges are added in the
        order in which they are encoded.
        """
        blocks = self._blocks
        if not blocks or start > blocks[-1].ends[-1]:
            self._append(start, end)
            return True
        index = max(bisect_right(self._firsts, start) - 1, 0)
        block = blocks[index]
        place = bisect_left(block.ends, start)
        if place == len(block.ends):
            # There is another block, since the last range of all does not end before `start`.
            index, place = index + 1, 0
            block = blocks[index]
        if block.starts[place] > end:
            block.starts.insert(place, start)
            block.ends.insert(place, end)
            self._count += 1
        else:
            self._join(index, place, start, end)
        block.encoded = None
        self._firsts[index] = block.starts[0]
        if len(block.starts) > 2 * BLOCK_SIZE:
            rest = _Block(block.starts[BLOCK_SIZE:], block.ends[BLOCK_SIZE:])
            del block.starts[BLOCK_SIZE:], block.ends[BLOCK_SIZE:]
            blocks.insert(index + 1, rest)
            self._firsts.insert(index + 1, rest.starts[0])
        return False

    def _append(self, start: int, end: int) -> None:
        self._count += 1
        if self._blocks and len(self._blocks[-1].starts) < BLOCK_SIZE:
            block = self._blocks[-1]
            block.starts.append(start)
            block.ends.append(end)
            block.encoded = None
        else:
            self._blocks.append(_Block(_clocks((start,)), _clocks((end,))))
            self._firsts.append(start)

    def _join(self, index: int, place: int, start: int, end: int) -> None:
        """Join a new range and all ranges that it touches, the first of which is at `place` in the block at `index`."""
        blocks, block = self._blocks, self._blocks[index]
        last_index = bisect_right(self._firsts, end) - 1
        last = blocks[last_index]
        stop = bisect_right(last.starts, end)
        start, end = min(start, block.starts[place]), max(end, last.ends[stop - 1])
        if last is block:
            self._count -= stop - place - 1
            block.starts[place:stop] = _clocks((start,))
            block.ends[place:stop] = _clocks((end,))
            return
        between = blocks[index + 1 : last_index]
        self._count -= len(block.starts) - place + sum(len(one.starts) for one in between) + stop - 1
        block.starts[place:] = _clocks((start,))
        block.ends[place:] = _clocks((end,))
        del last.starts[:stop], last.ends[:stop]
        last.encoded = None
        if last.starts:
            self._firsts[last_index] = last.starts[0]
        else:
            last_index += 1
        del blocks[index + 1 : last_index], self._firsts[index + 1 : last_index]

    def overlapping(self, start: int, end: int) -> Iterator[Range]:
        """Return the ranges that overlap the clocks from `start` up to `end`; they are not clipped."""
        index = max(bisect_right(self._firsts, start) - 1, 0)
        while index < len(self._blocks):
            block = self._blocks[index]
            for place in range(bisect_right(block.ends, start), len(block.starts)):
                if block.starts[place] >= end:
                    return
                yield block.starts[place], block.ends[place]
            index += 1

    def covers(self, start: int, end: int) -> bool:
        """Return whether all clocks from `start` up to `end` are in the ranges."""
        index = bisect_right(self._firsts, start) - 1
        if index < 0:
            return False
        block = self._blocks[index]
        place = bisect_right(block.starts, start) - 1
        return block.ends[place] >= end

    def gaps(self, start: int, end: int, limit: int) -> tuple[list[Range], int]:
        """Return the gaps between the ranges from `start` up to `end`, after looking at no more than `limit` ranges.

        Also returns the clock up to which all gaps were found; it is less than `end` if the limit was reached.
        """
        found = []
        for known_start, known_end in self.overlapping(start, end):
            if known_start > start:
                found.append((start, known_start))
            start = max(start, known_end)
            limit -= 1
            if start >= end or not limit:
                return found, min(start, end)
        if start < end:
            found.append((start, end))
        return found, end

    def encode(self) -> Steps[tuple[int, bytes]]:
        """Encode the ranges as Yjs does, each as its first clock and its length; returns their number and the bytes."""
        for block in list(self._blocks):
            if block.encoded is None:
                yield
                block.encode()
        # Without a pause, since ranges may have been added between the steps.
        return len(self), b"".join([block.encode() for block in self._blocks])
