"""A client's structs taken apart, and cut where ranges of clocks begin and end; and put together to runs again.

All of it takes time in proportion to the bytes, however many cuts there are in one struct.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from canvas_collab.protocol.info import KEY, KIND, ORIGIN, RIGHT_ORIGIN, Kind
from canvas_collab.protocol.items import Id, Item, decode_item
from canvas_collab.protocol.lib0 import Decoder, encode_var_string, encode_var_uint, read_var_uint
from canvas_collab.protocol.ranges import Ranges
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
        places = _places(item, borders)
        if places:
            yield from cut_item(item, client, places)
        else:
            yield item


def _places(item: Item, borders: Sequence[Ranges]) -> list[int]:
    """Where within an item ranges begin or end."""
    places: set[int] = set()
    for ranges in borders:
        for bounds in ranges.overlapping(item.clock, item.end):
            places.update(place for place in bounds if item.clock < place < item.end)
    return sorted(places)


def cut_item(item: Item, client: int, places: Sequence[int]) -> Iterator[Item]:
    """The parts of an item between some of its clocks.  Like Yjs, what is cut off in front becomes a part's origin."""
    bounds = [item.clock, *places, item.end]
    whole = Content(item.content, item.kind)
    right_origin = b"" if item.right_origin is None else encode_id(item.right_origin)
    for start, end in pairwise(bounds):
        content = whole.part(start - item.clock, end - item.clock)
        if start == item.clock or item.kind is Kind.GC:
            yield Item(start, end, item.info, item.head, content, item.origin, item.right_origin, item.parent)
        else:
            origin = (client, start - 1)
            info = item.info & (RIGHT_ORIGIN | KEY | KIND) | ORIGIN
            yield Item(start, end, info, encode_id(origin) + right_origin, content, origin, item.right_origin, None)


class Content:
    """An item's content, of which parts are taken that are counted from its own beginning."""

    def __init__(self, content: bytes, kind: Kind) -> None:
        self._content = content
        self._kind = kind
        self.units = Decoder(content).var_string().encode("utf-16-le") if kind is Kind.STRING else b""
        self._places = _value_places(content, kind) if kind in (Kind.ANY, Kind.JSON) else []

    def part(self, start: int, end: int) -> bytes:
        """The part from one place to another."""
        if self._kind in (Kind.GC, Kind.DELETED):
            return encode_var_uint(end - start)
        if self._kind is Kind.STRING:
            # A character that is cut in half becomes two that stand for none, as it does in Yjs.
            return encode_var_string(self.units[2 * start : 2 * end].decode("utf-16-le", "replace"))
        return encode_var_uint(end - start) + self._content[self._places[start] : self._places[end]]


def _value_places(content: bytes, kind: Kind) -> list[int]:
    """Where in the content of a list of values each begins, and where the last one ends."""
    count, position = read_var_uint(content, 0)
    places = [position]
    for _ in range(count):
        position = _after_any(content, position) if kind is Kind.ANY else _after_bytes(content, position)
        places.append(position)
    return places


def _after_bytes(data: bytes, position: int) -> int:
    length, position = read_var_uint(data, position)
    return position + length


#: How many bytes follow the tag of a value of lib0's ``writeAny`` that is of one size.
_SIZES = {120: 0, 121: 0, 122: 8, 123: 8, 124: 4, 126: 0, 127: 0}


def _after_any(data: bytes, position: int) -> int:
    """Where a value of lib0's ``writeAny`` ends that was checked when it came."""
    # How many values are still to come of each list and object around the place, and whether they have keys.
    around: list[tuple[int, bool]] = [(1, False)]
    while around:
        left, has_keys = around.pop()
        if not left:
            continue
        around.append((left - 1, has_keys))
        if has_keys:
            position = _after_bytes(data, position)
        tag = data[position]
        position += 1
        if tag in _SIZES:
            position += _SIZES[tag]
        elif tag in (116, 119):
            position = _after_bytes(data, position)
        elif tag == 125:
            while data[position] >= 0x80:
                position += 1
            position += 1
        else:
            count, position = read_var_uint(data, position)
            around.append((count, tag == 118))
    return position


def encode_id(identifier: Id) -> bytes:
    """The id of an item as it stands in a struct."""
    return encode_var_uint(identifier[0]) + encode_var_uint(identifier[1])


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
