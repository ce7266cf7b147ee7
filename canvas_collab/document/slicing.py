"""Decoding a client's runs to items, splitting items where ranges of clocks begin and end, and encoding them to runs.

The time that this takes is linear in the size of the runs, however often one item is split.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from canvas_collab.protocol.contents import count_units, make_content_slicer
from canvas_collab.protocol.items import Item, decode_item, encode_id
from canvas_collab.protocol.lib0 import encode_var_bytes, read_var_uint
from canvas_collab.protocol.ranges import Ranges
from canvas_collab.protocol.struct_info import KEY, KIND, ORIGIN, RIGHT_ORIGIN, STRING, Kind
from canvas_collab.protocol.structs import RUN_SIZE, Run, read_structs


def decode_items(client: int, runs: Iterable[Run]) -> Iterator[Item]:
    """Iterate over the items in a client's runs."""
    for run in runs:
        for struct in read_structs(run, client):
            data = run.data[struct.start : struct.stop]
            yield decode_item(data, struct.content - struct.start, struct.clock, struct.end)


def split_items(client: int, runs: Iterable[Run], *borders: Ranges) -> Iterator[Item]:
    """Iterate over the items in a client's runs, split where any of the ranges begins or ends."""
    for item in decode_items(client, runs):
        places = _split_places(item, borders)
        if places:
            yield from split_item(item, client, places)
        else:
            yield item


def _split_places(item: Item, borders: Sequence[Ranges]) -> list[int]:
    """Return the clocks inside an item at which ranges begin or end."""
    places: set[int] = set()
    for ranges in borders:
        for bounds in ranges.overlapping(item.clock, item.end):
            places.update(place for place in bounds if item.clock < place < item.end)
    return sorted(places)


def split_item(item: Item, client: int, places: Sequence[int]) -> Iterator[Item]:
    """Split an item at some of its clocks.  As in Yjs, the origin of each part but the first is the clock before it."""
    bounds = [item.clock, *places, item.end]
    slicer = make_content_slicer(item.content, item.kind)
    right_origin = b"" if item.right_origin is None else encode_id(item.right_origin)
    for start, end in pairwise(bounds):
        content = slicer.slice(start - item.clock, end - item.clock)
        if start == item.clock or item.kind is Kind.GC:
            yield Item(start, end, item.info, item.head, content, item.origin, item.right_origin, item.parent)
        else:
            origin = (client, start - 1)
            info = item.info & (RIGHT_ORIGIN | KEY | KIND) | ORIGIN
            yield Item(start, end, info, encode_id(origin) + right_origin, content, origin, item.right_origin, None)


def can_be_cut(info: int) -> bool:
    """Return whether :func:`cut_string` can cut the struct with this info byte."""
    return info & KIND == STRING and not info & KEY


def cut_string(struct: bytes, content: int, client: int, clock: int, size: int) -> Iterator[Run]:
    """Cut a client's struct with a long string, which begins at `clock`, to runs of about `size` bytes.

    No surrogate pair is cut, as one is a single character in UTF-8.

    :param content: the position of the content in `struct`.
    """
    item = decode_item(struct, content, clock, clock)
    info = item.info & (RIGHT_ORIGIN | KIND) | ORIGIN
    right_origin = b"" if item.right_origin is None else encode_id(item.right_origin)
    head = struct[:content]
    length, start = read_var_uint(struct, content)
    end = start + length
    while start < end:
        stop = min(start + size, end)
        while stop < end and struct[stop] & 0xC0 == 0x80:
            stop += 1
        piece = struct[start:stop]
        next_clock = clock + count_units(piece.decode())
        yield Run(clock, next_clock, 1, head + encode_var_bytes(piece))
        start, clock = stop, next_clock
        head = bytes((info,)) + encode_id((client, clock - 1)) + right_origin


def make_runs(items: Iterable[Item]) -> Iterator[Run]:
    """Encode a client's items to runs."""
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
