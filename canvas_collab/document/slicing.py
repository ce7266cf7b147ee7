"""A client's structs taken apart, and cut where ranges of clocks begin and end; and put together to runs again.

All of it takes time in proportion to the bytes, however many cuts there are in one struct.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from canvas_collab.protocol.contents import cutter_of
from canvas_collab.protocol.items import Item, decode_item, encode_id
from canvas_collab.protocol.ranges import Ranges
from canvas_collab.protocol.struct_info import KEY, KIND, ORIGIN, RIGHT_ORIGIN, Kind
from canvas_collab.protocol.structs import RUN_SIZE, Run, structs_of


def items_of(client: int, runs: Iterable[Run]) -> Iterator[Item]:
    """A client's structs, taken apart."""
    for run in runs:
        for struct in structs_of(run, client):
            data = run.data[struct.start : struct.stop]
            yield decode_item(data, struct.content - struct.start, struct.clock, struct.end)


def cut_items(client: int, runs: Iterable[Run], *borders: Ranges) -> Iterator[Item]:
    """A client's structs, cut where any of the ranges begins or ends."""
    for item in items_of(client, runs):
        places = _slots(item, borders)
        if places:
            yield from cut_item(item, client, places)
        else:
            yield item


def _slots(item: Item, borders: Sequence[Ranges]) -> list[int]:
    """Where within an item ranges begin or end."""
    places: set[int] = set()
    for ranges in borders:
        for bounds in ranges.overlapping(item.clock, item.end):
            places.update(place for place in bounds if item.clock < place < item.end)
    return sorted(places)


def cut_item(item: Item, client: int, places: Sequence[int]) -> Iterator[Item]:
    """The parts of an item between some of its clocks.  Like Yjs, what is cut off in front becomes a part's origin."""
    bounds = [item.clock, *places, item.end]
    whole = cutter_of(item.content, item.kind)
    right_origin = b"" if item.right_origin is None else encode_id(item.right_origin)
    for start, end in pairwise(bounds):
        content = whole.cut(start - item.clock, end - item.clock)
        if start == item.clock or item.kind is Kind.GC:
            yield Item(start, end, item.info, item.head, content, item.origin, item.right_origin, item.parent)
        else:
            origin = (client, start - 1)
            info = item.info & (RIGHT_ORIGIN | KEY | KIND) | ORIGIN
            yield Item(start, end, info, encode_id(origin) + right_origin, content, origin, item.right_origin, None)


def runs_of(items: Iterable[Item]) -> Iterator[Run]:
    """A client's items as runs again."""
    structs: list[bytes] = []
    size = begin = end = 0
    for item in items:
        if structs and (item.clock != end or size >= RUN_SIZE):
            yield Run(begin, end, len(structs), b"".join(structs))
            structs, size = [], 0
        if not structs:
            begin = item.clock
        structs.append(item.encode())
        size += len(structs[-1])
        end = item.end
    if structs:
        yield Run(begin, end, len(structs), b"".join(structs))
