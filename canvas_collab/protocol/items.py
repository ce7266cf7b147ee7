"""Decoded items: what each item refers to, and joining two adjacent items.

The live server keeps structs as bytes (:mod:`canvas_collab.protocol.structs`).  Decoded items are for compaction,
inspecting, restoring and rebuilding.
"""

from __future__ import annotations

from typing import TypeAlias

from attrs import frozen

from canvas_collab.protocol.lib0 import Decoder, encode_var_uint
from canvas_collab.protocol.struct_info import KIND, ORIGIN, RIGHT_ORIGIN, Kind

#: The id of a struct's element: a client id and a clock.
Id: TypeAlias = tuple[int, int]


@frozen
class Item:
    """A decoded struct; its content stays encoded.

    `clock` is its first clock and `end` the one after its last.  `origin` and `right_origin` are the ids of the
    neighbours that the item was inserted between.  An item inserted without neighbours names its parent instead:
    `parent` is the id of the item that holds the parent type, or None if the parent is a top-level type.  A GC has none
    of these.  `head` is the bytes between the info byte and the content.
    """

    clock: int
    end: int
    info: int
    head: bytes
    content: bytes
    origin: Id | None
    right_origin: Id | None
    parent: Id | None

    @property
    def kind(self) -> Kind:
        """The kind of the struct."""
        return Kind(self.info & KIND)

    def encode(self) -> bytes:
        """Encode the struct."""
        return bytes((self.info,)) + self.head + self.content


def decode_item(struct: bytes, content: int, clock: int, end: int) -> Item:
    """Decode a valid struct; `content` is the position of its content."""
    info = struct[0]
    origin = right_origin = parent = None
    if info & KIND != Kind.GC:
        decoder = Decoder(struct)
        decoder.position = 1
        if info & ORIGIN:
            origin = (decoder.var_uint(), decoder.var_uint())
        if info & RIGHT_ORIGIN:
            right_origin = (decoder.var_uint(), decoder.var_uint())
        if not info & (ORIGIN | RIGHT_ORIGIN) and decoder.var_uint() != 1:
            parent = (decoder.var_uint(), decoder.var_uint())
    return Item(clock, end, info, struct[1:content], struct[content:], origin, right_origin, parent)


def encode_id(identifier: Id) -> bytes:
    """Encode an id as it is in a struct."""
    return encode_var_uint(identifier[0]) + encode_var_uint(identifier[1])


def to_deleted(item: Item) -> Item:
    """Return the item with its content replaced by its length, as Yjs does with deleted content."""
    info = item.info & ~KIND | Kind.DELETED
    content = encode_var_uint(item.end - item.clock)
    return Item(item.clock, item.end, info, item.head, content, item.origin, item.right_origin, item.parent)


def to_gc(item: Item) -> Item:
    """Return the GC with the item's clocks, which Yjs replaces items with whose parent was deleted."""
    return Item(item.clock, item.end, Kind.GC, b"", encode_var_uint(item.end - item.clock), None, None, None)


def join_items(first: Item, second: Item, client: int, limit: int) -> Item | None:
    """Join two adjacent items to the one that Yjs would split into them; None if there is none.

    There is one if the second item was inserted right after the first, with the same right neighbour.

    :param limit: the largest content of a joined item, in bytes.
    """
    if first.kind is not second.kind or len(first.content) + len(second.content) > limit:
        return None
    if first.kind is Kind.GC:
        return to_gc(Item(first.clock, second.end, Kind.GC, b"", b"", None, None, None))
    if second.origin != (client, first.end - 1) or second.right_origin != first.right_origin:
        return None
    if first.kind in (Kind.STRING, Kind.ANY, Kind.JSON):
        content = _join_content(first, second)
    elif first.kind is Kind.DELETED:
        content = encode_var_uint(second.end - first.clock)
    else:
        return None
    return Item(
        first.clock, second.end, first.info, first.head, content, first.origin, first.right_origin, first.parent
    )


def _join_content(first: Item, second: Item) -> bytes:
    """Join strings or lists of values; both begin with a length, of a string in bytes, of a list in values."""
    left, right = Decoder(first.content), Decoder(second.content)
    length = left.var_uint() + right.var_uint()
    return encode_var_uint(length) + first.content[left.position :] + second.content[right.position :]
