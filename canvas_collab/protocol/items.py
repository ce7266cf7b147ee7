"""Items one by one: what each builds on, and putting two together that are one item's halves.

Structs are otherwise kept as bytes (:mod:`canvas_collab.protocol.structs`); this is for the rare times when somebody
has to know more.
"""

from __future__ import annotations

from typing import TypeAlias

from attrs import frozen

from canvas_collab.protocol.lib0 import Decoder, encode_var_uint
from canvas_collab.protocol.struct_info import KIND, ORIGIN, RIGHT_ORIGIN, Kind

#: A client and one of its clocks.
Id: TypeAlias = tuple[int, int]


@frozen
class Item:
    """A struct, taken apart as far as its content.

    `origin` and `right_origin` are the ids between which the item was inserted, where it had neighbours; one that had
    none says what it is in: the item `parent`, or the shared type that is named on the document itself.  A stretch that
    was garbage-collected has none of all that.  `head` are the bytes between the info byte and the content.
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
        """What kind of struct it is."""
        return Kind(self.info & KIND)

    def encode(self) -> bytes:
        """The struct."""
        return bytes((self.info,)) + self.head + self.content


def decode_item(struct: bytes, content: int, clock: int, end: int) -> Item:
    """Take a struct apart that has been checked; `content` is where in it the content begins."""
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
    """The id of an item as it stands in a struct."""
    return encode_var_uint(identifier[0]) + encode_var_uint(identifier[1])


def deleted(item: Item) -> Item:
    """The item without its content, of which only the length remains, as Yjs leaves it."""
    info = item.info & ~KIND | Kind.DELETED
    content = encode_var_uint(item.end - item.clock)
    return Item(item.clock, item.end, info, item.head, content, item.origin, item.right_origin, item.parent)


def collected(item: Item) -> Item:
    """What Yjs makes of an item within something that was deleted: a stretch of which nothing is known any more."""
    return Item(item.clock, item.end, Kind.GC, b"", encode_var_uint(item.end - item.clock), None, None, None)


def joined(first: Item, second: Item, client: int, limit: int) -> Item | None:
    """The item of which `first` and `second` are the halves, or None if there is none.

    They are if Yjs, splitting that item, would get them: the second was inserted right after the first, with the same
    neighbour to its right.

    :param limit: nothing is joined to a struct of more than so many bytes.
    """
    if first.kind is not second.kind or len(first.content) + len(second.content) > limit:
        return None
    if first.kind is Kind.GC:
        return collected(Item(first.clock, second.end, Kind.GC, b"", b"", None, None, None))
    if second.origin != (client, first.end - 1) or second.right_origin != first.right_origin:
        return None
    if first.kind in (Kind.STRING, Kind.ANY, Kind.JSON):
        content = _joined_content(first, second)
    elif first.kind is Kind.DELETED:
        content = encode_var_uint(second.end - first.clock)
    else:
        return None
    return Item(
        first.clock, second.end, first.info, first.head, content, first.origin, first.right_origin, first.parent
    )


def _joined_content(first: Item, second: Item) -> bytes:
    """Strings and lists of values begin with a length; of a string in bytes, of a list in values."""
    left, right = Decoder(first.content), Decoder(second.content)
    length = left.var_uint() + right.var_uint()
    return encode_var_uint(length) + first.content[left.position :] + second.content[right.position :]
